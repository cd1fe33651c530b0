/** How fast contributions of the strategy `spsa` are applied, on one core. */
import {
  DIRECTION_KEY_BYTES,
  type DirectionKind,
  type Kernels,
  loadKernels,
  SharedVectors,
  twins,
} from '../../../kernels/index.ts'
import { ROWS } from '../../../protocols/spsa/arithmetic.ts'
import { directionKeys } from '../../../protocols/spsa/directions.ts'

/** Models measured by default, in parameters. The largest takes 1.2 GB. */
const PARAMETERS = [1_000_000, 10_000_000, 100_000_000] as const

/** Parameters at which the plain TypeScript twin is measured: larger ones take long. */
const TWIN_PARAMETERS = 1_000_000

export interface SpeedOptions {
  parameters?: readonly number[]
  directions?: DirectionKind
  /** Runs that count, after one that does not. Default 5. */
  runs?: number
  signal?: AbortSignal
}

/** Figures of one size; medians, in processor time of this process, so that other work on the machine counts little. */
export interface SpeedFigures {
  parameters: number
  directions: DirectionKind
  runs: number
  /** Contributions applied in one pass, as in a replay. */
  batch: number
  /** Contributions applied per second in such batches. */
  contributionsPerSecond: number
  /** Parameters times contributions per second in such batches. */
  perSecond: number
  /** The same when contributions are applied one at a time. */
  perSecondAlone: number
  /** Bytes of the sums read and written by batches, as a share of what a copy of memory reads and writes in the same time; 0 to 1. */
  memoryShare: number
  /** Bytes per second that a copy reads and writes. */
  copy: number
  /** Parameters per second of a point beside theta, and of theta from the sums. */
  perturb: number
  refresh: number
  /** As `perSecondAlone`, of the plain TypeScript twin; at one size only. */
  twin?: number
}

/** What is timed; each body is one run. */
type Bodies = Record<'copy' | 'batch' | 'alone' | 'perturb' | 'refresh', () => void> & { twin?: () => void }

/** Processor time of a call, s. */
function seconds(body: () => void): number {
  const before = process.cpuUsage()
  body()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

/** Median of a list that is not empty. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/**
 * Measures applying contributions to models of several sizes, against a copy of memory in between. Some 15 s in all by default.
 *
 * @throws RangeError when the machine has not that much memory, and the signal's reason between two runs
 */
export function benchSpeed(options: SpeedOptions = {}): SpeedFigures[] {
  const { parameters = PARAMETERS, directions = 'sign', runs = 5, signal } = options
  return parameters.map((size) => {
    const bodies = prepare(size, directions)
    const names = Object.keys(bodies) as (keyof Bodies)[]
    const times = Object.fromEntries(names.map((name) => [name, [] as number[]]))
    // All of them in turn, so that what else the machine does hits all alike.
    for (let run = -1; run < runs; run++) {
      for (const name of names) {
        signal?.throwIfAborted()
        const time = seconds(bodies[name]!)
        if (run >= 0) times[name]!.push(time)
      }
    }
    const rate = (name: keyof Bodies, work: number): number => work / median(times[name]!)
    const copy = rate('copy', 8 * size)
    return {
      parameters: size,
      directions,
      runs,
      batch: ROWS,
      contributionsPerSecond: rate('batch', ROWS),
      perSecond: rate('batch', ROWS * size),
      perSecondAlone: rate('alone', size),
      memoryShare: rate('batch', 8 * size) / copy,
      copy,
      perturb: rate('perturb', size),
      refresh: rate('refresh', size),
      ...(bodies.twin === undefined ? {} : { twin: rate('twin', size) }),
    }
  })
}

/** A model with sums, and contributions for it. */
function prepare(size: number, kind: DirectionKind): Bodies {
  const vectors = SharedVectors.create({
    base: { type: 'float32', length: size },
    candidate: { type: 'float32', length: size },
    sums: { type: 'int32', length: size },
    keys: { type: 'uint8', length: DIRECTION_KEY_BYTES * ROWS },
    coefficients: { type: 'int32', length: ROWS },
  })
  const [base, candidate, sums] = [vectors.float32('base'), vectors.float32('candidate'), vectors.int32('sums')]
  const [keys, coefficients] = [vectors.bytes('keys'), vectors.int32('coefficients')]
  base.fill(1)
  const directions = directionKeys('bench', 'speed')
  // Of a usual size. What the sums come to does not matter: they are integers modulo 2^32.
  for (let i = 0; i < ROWS; i++) {
    keys.set(directions.of(i + 1), DIRECTION_KEY_BYTES * i)
    coefficients[i] = i % 2 === 0 ? 50_000 : -50_000
  }
  const kernels = loadKernels(vectors)
  const add = (by: Kernels, count: number) => by.addDirections(sums, keys, coefficients, count, kind, 0)
  return {
    copy: () => candidate.set(base),
    batch: () => add(kernels, ROWS),
    alone: () => add(kernels, 1),
    perturb: () => kernels.perturb(candidate, base, keys.subarray(0, DIRECTION_KEY_BYTES), 1e-3, kind, 0),
    refresh: () => kernels.fromSums(candidate, base, sums, 1e-9),
    ...(size === TWIN_PARAMETERS ? { twin: () => add(twins, 1) } : {}),
  }
}
