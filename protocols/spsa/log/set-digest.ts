/**
 * Names a set of contributions in 32 bytes that follow every change at a fixed cost, however many authors and contributions there are.
 *
 * LtHash16 (Lewi, Kim, Maykov, Weis 2019, "Securing update propagation with homomorphic hashing", after Bellare and Micciancio 1997): every
 * element is expanded to 1,024 lanes of 16 bits, and a set is the sum of its elements' lanes modulo 2^16, so that the order of additions and
 * removals does not matter. Two sets of equal sums are a short vector of a lattice, about 2^200 work. A sum of plain 256-bit hashes would take
 * 2^23 of whoever has 1,024 authors to choose from (Wagner 2002, generalized birthdays).
 *
 * A contribution's share of the sum is element(h_n) - element(h_{n-1}), where h_0 has no element (chain.ts). The shares of one author's prefix
 * telescope to the element of its head, so a batch of any length costs two expansions and the removal of an author one.
 */
import { createHash } from 'node:crypto'
import { sha256 } from '../../hash.ts'

const LANES = 1024

/** Work of adding or removing an element, in hashes of the chain: about 8 µs against 0.3. See {@link import('./chain.ts').createPace}. */
export const ELEMENT_WORK = 25

/** A sum of elements. An element is named by the 32 bytes of a hash; whoever adds one twice or removes a stranger names another set. */
export class SetDigest {
  readonly #sum = new Uint16Array(LANES)
  #name: Uint8Array | undefined

  /** Adds an author's head: h_n, n > 0. */
  add(head: Uint8Array): void {
    this.#apply(head, 1)
  }

  /** Removes a head that was added. */
  remove(head: Uint8Array): void {
    this.#apply(head, -1)
  }

  /** Adds the exclusion of an author, by its h_0; that is for good. */
  exclude(origin: Uint8Array): void {
    this.#apply(sha256('starling/spsa/excluded/1', origin), 1)
  }

  /** The set's name; a new array after every change. */
  name(): Uint8Array {
    this.#name ??= sha256('starling/spsa/set/1', new Uint8Array(this.#sum.buffer))
    return this.#name
  }

  #apply(element: Uint8Array, sign: 1 | -1): void {
    const bytes = createHash('shake128', { outputLength: 2 * LANES })
      .update('starling/spsa/element/1')
      .update(element)
      .digest()
    // Lanes are little endian, as all machines are that this runs on.
    const lanes = new Uint16Array(bytes.buffer, bytes.byteOffset, LANES)
    const sum = this.#sum
    for (let lane = 0; lane < LANES; lane++) {
      sum[lane]! += sign * lanes[lane]!
    }
    this.#name = undefined
  }
}
