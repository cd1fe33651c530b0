/** How many questions of one kind are under way at once: probes that share a link time each other, and a signal warns of more than ten listeners. */
const FEW = 3

/** Does that for all items, a few at a time; results are in the items' order. After one that throws no further ones are begun. */
export async function fewAtATime<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++
      try {
        results[at] = await work(items[at]!)
      } catch (error) {
        next = items.length
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(FEW, items.length) }, worker))
  return results
}
