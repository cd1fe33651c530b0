/** How fast contributions of the strategy `spsa` are applied, on one core. */
import { type DirectionKind, loadKernels, SharedVectors, twins } from '../../../kernels/index.ts'
import {
  applyTask,
  type ComputeContext,
  perturbTask,
  refreshTask,
  spsaOptionsSchema,
  spsaVectors,
  weightRule,
} from '../../../protocols/index.ts'
import { median } from '../median.ts'

/** Models measured by default, in parameters. The largest takes 1.6 GB. */
const PARAMETERS = [1_000_000, 10_000_000, 100_000_000] as const

/** Contributions applied in one go, as in a replay. */
const BATCH = 128

/** Coefficient of a usual contribution: 0.8 in quanta of 2^-10, times the weight 64. */
const COEFFICIENT = 50_000

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
  /** Contributions applied in one go, as in a replay. */
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
      batch: BATCH,
      contributionsPerSecond: rate('batch', BATCH),
      perSecond: rate('batch', BATCH * size),
      perSecondAlone: rate('alone', size),
      memoryShare: rate('batch', 8 * size) / copy,
      copy,
      perturb: rate('perturb', size),
      refresh: rate('refresh', size),
      ...(bodies.twin === undefined ? {} : { twin: rate('twin', size) }),
    }
  })
}

/** A model at its start, and the tasks of a peer that applies contributions to it. */
function prepare(size: number, directions: DirectionKind): Bodies {
  const { snapshot: _, ...needed } = spsaVectors(size)
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: size }, ...needed })
  const context: ComputeContext = {
    kernels: loadKernels(vectors),
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  const rule = weightRule(spsaOptionsSchema.parse({ directions }), BATCH)
  const at = { run: 'bench', author: 'bench' }
  const [base, candidate] = [vectors.float32('base'), vectors.float32('candidate')]
  base.fill(1)
  let sign = 1
  const apply = (count: number, by: ComputeContext = context): void => {
    // Of changing sign, so that the sums do not grow.
    sign = -sign
    const coefficients = new Int32Array(count).fill(sign * COEFFICIENT)
    applyTask.run(by, { run: at.run, effects: [{ author: at.author, from: 1, coefficients }], rule })
  }
  return {
    copy: () => candidate.set(base),
    batch: () => apply(BATCH),
    alone: () => apply(1),
    perturb: () => void perturbTask.run(context, { ...at, step: 1, sign: 1, epsilon: 1e-3, directions }),
    refresh: () => void refreshTask.run(context, { rule }),
    ...(size === TWIN_PARAMETERS ? { twin: () => apply(1, { ...context, kernels: twins }) } : {}),
  }
}
