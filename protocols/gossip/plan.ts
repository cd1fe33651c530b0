/** Into what fragments a model is cut, and which of them has its turn. The same at every peer: a function of the run and the size of the model. */
import { codecs } from '../codecs/index.ts'
import { StarlingError } from '../errors.ts'
import { FRAGMENT_ALIGNMENT, fragmentOf } from '../mixing/index.ts'
import { seededRandom } from '../random.ts'
import { type GossipOptions, MAX_FRAGMENTS, memoryOf } from './options.ts'

/** Longest gossip message, bytes, as the transport allows it, and what the fields beside the fragment take of it at most. */
export const MESSAGE_BYTES = 64 * 1024
const HEADER_BYTES = 128

/** Least number of fragments chosen by default: what is published of a model at once is a part of it; a difference is short enough to go whole. */
const LEAST_FRAGMENTS = 4
const LEAST_WITH_REPLICAS = 1

/** One fragment: elements `start` to `end` (not included) of theta, and the bytes of its code. */
export interface Fragment {
  index: number
  start: number
  end: number
  bytes: number
  /** Whether it fits into a gossip message; otherwise it is announced and pulled. */
  inline: boolean
}

/** The fragments of a model. */
export interface FragmentPlan {
  /** None is empty. */
  fragments: readonly Fragment[]
  /** Bytes of the largest one's code. */
  largest: number
}

/**
 * Cuts a model of `size` elements at multiples of {@link FRAGMENT_ALIGNMENT}. A small model gets fewer fragments than were asked for; with replicas, whose
 * differences always go in one message, a large one gets more. Throws StarlingError 'bad-option' where {@link MAX_FRAGMENTS} are not enough for that.
 */
export function fragmentPlan(
  size: number,
  options: Pick<GossipOptions, 'fragments' | 'codec'> & Partial<Pick<GossipOptions, 'memory'>>,
): FragmentPlan {
  const codec = codecs[options.codec]
  const replicas = memoryOf(options) === 'replicas'
  const most = Math.ceil(size / FRAGMENT_ALIGNMENT)
  const fits = (count: number): boolean => codec.bytes(lengthOf(size, count)) <= MESSAGE_BYTES - HEADER_BYTES
  let count = options.fragments ?? (replicas ? LEAST_WITH_REPLICAS : LEAST_FRAGMENTS)
  if (replicas || options.fragments === undefined) {
    while (count < MAX_FRAGMENTS && !fits(count)) {
      count = Math.min(MAX_FRAGMENTS, 2 * count)
    }
  }
  count = Math.min(count, most)
  if (replicas && !fits(count)) {
    const text = `memory: a model of ${size} parameters in ${options.codec} is too large for replicas: its differences do not fit into messages`
    throw new StarlingError('bad-option', text, { size, codec: options.codec })
  }
  const fragments = Array.from({ length: count }, (_, index): Fragment => {
    const { start, end } = fragmentOf(size, count, index)
    const bytes = codec.bytes(end - start)
    return { index, start, end, bytes, inline: bytes <= MESSAGE_BYTES - HEADER_BYTES }
  }).filter(({ start, end }) => start < end)
  return { fragments, largest: Math.max(...fragments.map(({ bytes }) => bytes)) }
}

/**
 * Which fragment has its turn. Each cycle goes through all of them in an order of its own, drawn from the run's name: in a fixed order a peer that
 * is half as quick, and so takes every other turn, would publish the same half of its model for ever. The order is position -> (step · position + first)
 * mod count, found without going through it: anybody may claim any turn.
 */
export class FragmentOrder {
  readonly #run: string
  readonly #fragments: readonly Fragment[]

  constructor(run: string, { fragments }: FragmentPlan) {
    this.#run = run
    this.#fragments = fragments
  }

  /** The fragment of turn 0, 1, 2, ... */
  at(turn: number): Fragment {
    const count = this.#fragments.length
    const random = seededRandom(this.#run, 'fragments', Math.floor(turn / count))
    const first = random.integer(count)
    let step = 1 + random.integer(count)
    while (commonDivisor(step, count) > 1) {
      step = 1 + random.integer(count)
    }
    return this.#fragments[(step * (turn % count) + first) % count]!
  }
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}

function lengthOf(size: number, count: number): number {
  const { start, end } = fragmentOf(size, count, 0)
  return end - start
}
