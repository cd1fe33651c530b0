/** Words of the answers. */

/** "1 peer", "2 peers". */
export const count = (n: number, one: string): string =>
  `${n.toLocaleString('en')} ${n === 1 ? one : one.endsWith('s') ? `${one}es` : `${one}s`}`

/** "a", "a and b", "a, b and c". */
export const list = (items: readonly string[]): string =>
  items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
