/** What the tests of the log share: keys that need no curve, histories that are written at will, and a disk that can be cut off. */
import { createHmac } from 'node:crypto'
import { equalBytes } from '../../../hash.ts'
import type { PeerName, RecordStore, Transport } from '../../../ports.ts'
import type { Segment } from '../../types.ts'
import { follow, originOf, type Pace, statementOf } from '../chain.ts'

/** Name of the run in the tests. */
export const RUN = 'the-run'

/** No pauses. */
export const unpaced: Pace = async () => {}

/** A signature that only this process can make: a keyed hash in the place of Ed25519. */
export function signed(author: PeerName, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha512', `key of ${author}`).update(data).digest())
}

/** As {@link Transport.verify}, for {@link signed}. */
export const verify: Transport['verify'] = async (author, data, signature) =>
  equalBytes(signed(author, data), signature)

/** A segment of the history in which `author` contributed `bytes`, whoever it is. */
export async function segmentOf(
  author: PeerName,
  bytes: Uint8Array | readonly number[],
  from = 1,
  run = RUN,
): Promise<Segment> {
  const history = Uint8Array.from(bytes)
  const origin = originOf(run, author)
  const { head } = await follow({ count: 0, hash: origin }, history, unpaced)
  return { author, from, bytes: history.slice(from - 1), signature: signed(author, statementOf(origin, head)) }
}

/** Contributions 1, 2, 3, ... without the byte that is none. */
export function contributions(count: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => {
    const byte = (index * 7 + seed * 31 + 1) % 256
    return byte === 0x80 ? 0x81 : byte
  })
}

/** Records in memory. After `writes` more writes the process that writes them is dead: what it awaits never comes. */
export class MemoryRecords implements RecordStore {
  readonly data: Map<string, Uint8Array>
  /** Writes and deletions done. */
  done = 0
  #writes: number

  constructor(data = new Map<string, Uint8Array>(), writes = Number.POSITIVE_INFINITY) {
    this.data = data
    this.#writes = writes
  }

  get dead(): boolean {
    return this.done >= this.#writes
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.data.get(key)?.slice()
  }

  put(key: string, value: Uint8Array): Promise<void> {
    return this.#write(() => this.data.set(key, value.slice()))
  }

  delete(key: string): Promise<void> {
    return this.#write(() => this.data.delete(key))
  }

  async keys(prefix: string, limit: number): Promise<string[]> {
    const keys = [...this.data.keys()].filter((key) => key.startsWith(prefix))
    return keys.sort().slice(0, limit)
  }

  async #write(write: () => void): Promise<void> {
    if (this.dead) {
      return new Promise(() => {})
    }
    this.done++
    write()
  }
}
