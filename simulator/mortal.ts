/** Killing code: what a dead process awaits never comes, and what it does has no effect. */

/** The life of a simulated process. */
export interface Life {
  dead: boolean
}

const never = (): Promise<never> => new Promise(() => {})

/**
 * The same object for a process that may be killed. Once `life.dead`, its asynchronous methods do nothing and no promise that they returned
 * settles any more, so that the code that awaits them stops where it is, as at `kill -9`.
 */
export function mortal<T extends object>(target: T, life: Life): T {
  /** By name of the method: the method as it was when last called, and what stands for it. Bounded by the object's methods. */
  const wrapped = new Map<PropertyKey, { value: unknown; call: (...args: unknown[]) => unknown }>()
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key, object)
      if (typeof value !== 'function') {
        return value
      }
      const known = wrapped.get(key)
      if (known?.value === value) {
        return known.call
      }
      const call = (...args: unknown[]): unknown => {
        if (life.dead) {
          return never()
        }
        const result: unknown = value.apply(object, args)
        if (!(result instanceof Promise)) {
          return result
        }
        return new Promise((resolve, reject) => {
          result.then(
            (settled) => life.dead || resolve(settled),
            (error) => life.dead || reject(error),
          )
        })
      }
      wrapped.set(key, { value, call })
      return call
    },
  })
}
