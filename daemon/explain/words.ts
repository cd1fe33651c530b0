/** Words of the answers. */
import type { ExchangeFailure } from '../../protocols/index.ts'

/** "1 peer", "2 peers". */
export const count = (n: number, one: string): string =>
  `${n.toLocaleString('en')} ${n === 1 ? one : one.endsWith('s') ? `${one}es` : `${one}s`}`

/** "a", "a and b", "a, b and c". */
export const list = (items: readonly string[]): string =>
  items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`

/** Why an exchange did not happen, in words that follow "because". */
export const SKIPPED: Readonly<Record<ExchangeFailure, string>> = {
  'no-partner': 'it was the odd one out',
  'partner-late': 'the partner was late',
  'partner-ahead': 'the partner was in a later round already',
  'partner-lost': 'the partner vanished',
  'view-mismatch': 'the two saw different members',
  'bad-tensor': 'what the partner sent was refused',
  'too-far': 'the model of the partner was farther away than an honest one can be',
  aborted: 'it was stopped meanwhile',
}
