/** One after the other: runs what it is given in order, each after the one before has settled. Made once per thing that must not be entered twice. */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const next = last.then(work)
    // The caller sees a failure; the next in line does not.
    last = next.catch(() => undefined)
    return next
  }
}
