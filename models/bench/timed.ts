import type { Primitives } from '../ops/index.ts'

/** Primitives that add up the time of each operation by its name. The engines compute synchronously, so a call's time is its work. */
export function timed(inner: Primitives): { math: Primitives; milliseconds: Map<string, number> } {
  const milliseconds = new Map<string, number>()
  const math = new Proxy(inner, {
    get(target, name: keyof Primitives) {
      const value = target[name]
      if (typeof value !== 'function' || name === 'constant' || name === 'dispose') return value
      return (...inputs: unknown[]) => {
        const begin = performance.now()
        const result: unknown = Reflect.apply(value, target, inputs)
        milliseconds.set(name, (milliseconds.get(name) ?? 0) + performance.now() - begin)
        return result
      }
    },
  })
  return { math, milliseconds }
}
