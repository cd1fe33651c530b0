/** Which ways to send fit which kind of exchange, and why the others do not: the user who asks for one is refused with the reason. */
import type { CodecName } from '../codecs/index.ts'
import type { MemoryName } from './memory.ts'

/**
 * How peers agree. `shared-base`: all apply the same combined messages to the same parameters. `pair-gossip`: every peer has its own
 * parameters and averages them with one or few others at a time.
 */
export type Exchange = 'shared-base' | 'pair-gossip'

/** How a tensor is sent: its code, and what is remembered of what the code drops. 'replicas' is CHOCO-Gossip. */
export interface Sending {
  codec: CodecName
  memory: MemoryName | 'replicas'
}

/** Undefined where it fits, else the reason that it does not, which ends the sentence "x does not fit y: ". */
type Fit = Readonly<Record<Exchange, string | undefined>>

const fits = undefined

/**
 * Codes without a memory. 8 bits and more are exact enough for models; what is coarser must travel as differences, or what it drops of a model is never made up for (measured: top 5 % of
 * raw models on a ring leaves nine tenths of the disagreement).
 */
const WITHOUT_MEMORY: Readonly<Record<CodecName, Fit>> = {
  float32: { 'shared-base': fits, 'pair-gossip': fits },
  float16: { 'shared-base': fits, 'pair-gossip': fits },
  int8: { 'shared-base': fits, 'pair-gossip': fits },
  'int8-stochastic': { 'shared-base': fits, 'pair-gossip': fits },
  int4: {
    'shared-base': fits,
    'pair-gossip': 'the rounding of 4 bits puts more noise into the models than averaging takes out of them',
  },
  sign: {
    'shared-base': 'what it drops is lost without an error feedback',
    'pair-gossip': 'signs of whole models do not converge, however long they are exchanged',
  },
  topk: {
    'shared-base': 'what it drops is lost without an error feedback',
    'pair-gossip': 'the largest values of whole models do not converge, however long they are exchanged',
  },
}

/** Memories, with any code. */
const MEMORIES: Readonly<Record<Exclude<Sending['memory'], 'none'>, Fit>> = {
  decay: {
    'shared-base': fits,
    'pair-gossip': 'the error kept for one partner would go to another; only replicas let a coarse code converge there',
  },
  ef21: {
    'shared-base': fits,
    'pair-gossip': 'every receiver would have to follow every message; only replicas let a coarse code converge there',
  },
  econtrol: {
    'shared-base': fits,
    'pair-gossip': 'every receiver would have to follow every message; only replicas let a coarse code converge there',
  },
  replicas: {
    'shared-base': 'everybody holds the same parameters, so there is nobody to keep a replica of',
    'pair-gossip': fits,
  },
}

/** What else a strategy may be put together from. */
const PARTS = {
  'seeded-scalars': {
    'shared-base': fits,
    'pair-gossip': 'every peer has to apply every message, which makes it a shared base again',
  },
  'nearest-to-own': {
    'shared-base': 'every peer would keep other messages and end with other bits than the rest',
    'pair-gossip': fits,
  },
  'median-norm-clip': { 'shared-base': fits, 'pair-gossip': fits },
  'geometric-median': { 'shared-base': fits, 'pair-gossip': fits },
  'coordinate-median': { 'shared-base': fits, 'pair-gossip': fits },
  'trimmed-mean': { 'shared-base': fits, 'pair-gossip': fits },
  flag: {
    'shared-base': fits,
    'pair-gossip': 'with few neighbours the nearest to the own model say the same for less',
  },
  'interval-weights': { 'shared-base': fits, 'pair-gossip': fits },
  'variance-correction': {
    'shared-base': 'the base is shared, so no variance is lost by averaging it',
    'pair-gossip': fits,
  },
  delay: { 'shared-base': fits, 'pair-gossip': fits },
  eager: {
    'shared-base': 'every peer would step ahead by its own message, and the copies differ',
    'pair-gossip': fits,
  },
} as const satisfies Record<string, Fit>

/** Parts other than the way to send. */
export type Part = keyof typeof PARTS

/** Parts that compare peers coordinate by coordinate, or all their distances, and need dense messages. */
const DENSE_ONLY: readonly Part[] = ['geometric-median', 'coordinate-median', 'trimmed-mean']

const NAMES: Readonly<Record<Exchange, string>> = {
  'shared-base': 'rounds on a shared base',
  'pair-gossip': 'pair gossip',
}

/** A sentence why a tensor cannot be sent that way in that kind of exchange; undefined when it can. */
export function sendingFault(exchange: Exchange, { codec, memory }: Sending): string | undefined {
  const reason = (memory === 'none' ? WITHOUT_MEMORY[codec] : MEMORIES[memory])[exchange]
  const what = memory === 'none' ? codec : `${codec} with ${memory}`
  return reason === undefined ? undefined : `${what} does not fit ${NAMES[exchange]}: ${reason}`
}

/** A sentence why a part cannot be used in that kind of exchange or with that code; undefined when it can. */
export function partFault(exchange: Exchange, part: Part, codec: CodecName): string | undefined {
  const reason = PARTS[part][exchange]
  if (reason !== undefined) {
    return `${part} does not fit ${NAMES[exchange]}: ${reason}`
  }
  // The median of what few peers sent of a coordinate is mostly 0.
  return codec === 'topk' && DENSE_ONLY.includes(part)
    ? `${part} does not fit topk: it needs all values of every peer`
    : undefined
}
