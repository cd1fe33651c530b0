/**
 * Iteration times of plans over slow links: real nodes in this process whose questions and answers wait as if the peers were in two regions, stages that take their time
 * without computing anything, and the strategy itself. Each plan goes over the same nodes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  createBlobs,
  createSwarm,
  HEARTBEAT_TOPIC,
  type PathGenerator,
  type PipelineModules,
  pipeline,
  pipelineOptionsSchema,
  STAGES_TOPIC,
  StarlingError,
  type StrategyEvent,
  skippipe,
} from '../../../protocols/index.ts'
import { BENCH_RUN, type Loopback, startLoopback } from '../loopback.ts'
import { median } from '../median.ts'
import { memoryRecords } from '../records.ts'
import { delayed } from '../transport.ts'
import { fixedHolders, stillCut, stillStages } from './still.ts'

/** Regions, each with a data peer and a holder of every stage. */
const REGIONS = 2
const STAGES = 4
/** Stages on a partial path. */
const KEEP = 3
/** Microbatches of a data peer's step, and those under way at once. */
const MICROBATCHES = 6
const PATHS = 2

/** Work of the planner, in its own measure: some seconds at most. */
const WORK = 2_000_000

export interface PlansOptions {
  /** Milliseconds of a forward pass through one stage. Default 100. */
  forward?: number
  /** Milliseconds of a way inside a region, and across. Default 10 and 100. */
  near?: number
  far?: number
  /** Steps of each data peer that count, after one that does not. Default 4. */
  steps?: number
  /** Called as a plan begins. */
  onPlan?: (name: PlanName) => void
}

/**
 * 'sequential': all stages, at the nearest holders. 'skip': partial paths planned as if all links were alike. 'no-tc2': by the links, each microbatch
 * as if it were alone. 'skippipe': by the links, and out of each other's way.
 */
export type PlanName = 'sequential' | 'skip' | 'no-tc2' | 'skippipe'

export interface PlanFigures {
  plan: PlanName
  /** Stages of each path. */
  keep: number
  /** Milliseconds of an iteration, as the planner's simulator has it. */
  simulated: number
  /** Milliseconds of a data peer's step, commit included: median over all data peers and steps. */
  measured: number
  steps: number
}

export interface Plans {
  stages: number
  nodes: number
  microbatches: number
  forward: number
  near: number
  far: number
  plans: PlanFigures[]
}

/** Measures. Throws StarlingError 'bench-stuck' and 'bench-failed', and the signal's reason. */
export async function benchPlans(
  options: PlansOptions = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Plans> {
  const { forward = 100, near = 10, far = 100, steps = 4, onPlan = () => {} } = options
  const nodes = REGIONS * (1 + STAGES)
  const loopback = await startLoopback(nodes, [HEARTBEAT_TOPIC, STAGES_TOPIC], signal)
  try {
    await loopback.settled(signal)
    const problem = problemOf({ forward, near, far })
    const plans: PlanFigures[] = []
    for (const { name, keep, plan } of plansOf(problem)) {
      onPlan(name)
      const times = await time(loopback, { plan, forward, near, far, steps }, signal)
      const simulated = 1_000 * plan.seconds
      plans.push({ plan: name, keep, simulated, measured: median(times), steps: times.length })
    }
    return { stages: STAGES, nodes, microbatches: MICROBATCHES, forward, near, far, plans }
  } finally {
    await loopback.stop()
  }
}

/** Machines: the data peers first, one in each region, then the holders of stage 1, of stage 2, and so on. */
const regionOf = (machine: number): number => machine % REGIONS
const holdersOf = (stage: number): number[] => Array.from({ length: REGIONS }, (_, i) => stage * REGIONS + i)

/** The nodes as the planner sees them; times in seconds. */
function problemOf({ forward, near, far }: { forward: number; near: number; far: number }): skippipe.SkipProblem {
  const count = REGIONS * (1 + STAGES)
  const all = Array.from({ length: count }, (_, machine) => machine)
  const machine = { forward: forward / 1_000, embed: 0, loss: forward / 4_000, slots: PATHS * REGIONS }
  return {
    machines: all.map((number) => ({ ...machine, slots: number < REGIONS ? PATHS : machine.slots })),
    transfer: all.map((from) =>
      all.map((to) => (from === to ? 0 : regionOf(from) === regionOf(to) ? near : far) / 1_000),
    ),
    pause: 0,
    origins: all.slice(0, REGIONS),
    holders: Array.from({ length: STAGES }, (_, i) => holdersOf(i + 1)),
    fixed: 1,
    keep: KEEP,
    paths: PATHS,
    rounds: 1,
    slack: 0,
    release: { microbatches: MICROBATCHES, every: 0 },
  }
}

function plansOf(problem: skippipe.SkipProblem): { name: PlanName; keep: number; plan: skippipe.SkipPlan }[] {
  const { planSkip } = skippipe
  const rounds = skippipe.evenRounds(problem)
  const skipped = { ...problem, rounds }
  const seed = ['bench', 'pipeline']
  const alike = { ...skipped, transfer: problem.transfer.map((row) => row.map((way) => (way > 0 ? 1e-6 : 0))) }
  const judged = (plan: skippipe.SkipPlan): skippipe.SkipPlan => ({ ...plan, seconds: secondsOf(problem, plan.rounds) })
  const nearest = problem.origins.flatMap((origin) =>
    Array.from({ length: PATHS }, () => ({
      origin,
      start: 0,
      hops: Array.from({ length: STAGES }, (_, i) => ({
        stage: i + 1,
        machine: holdersOf(i + 1).find((machine) => regionOf(machine) === regionOf(origin)) as number,
      })),
    })),
  )
  return [
    { name: 'sequential', keep: STAGES, plan: judged({ rounds: [nearest], seconds: 0 }) },
    { name: 'skip', keep: KEEP, plan: judged(planSkip(alike, { seed, work: WORK, collisions: 'ignore' })) },
    { name: 'no-tc2', keep: KEEP, plan: judged(planSkip(skipped, { seed, work: WORK, collisions: 'ignore' })) },
    { name: 'skippipe', keep: KEEP, plan: judged(planSkip(skipped, { seed, work: WORK })) },
  ]
}

function secondsOf(problem: skippipe.SkipProblem, rounds: skippipe.SkipPlan['rounds']): number {
  const times = rounds.map((paths) => skippipe.simulateIteration(problem, skippipe.iteration(problem, paths)).seconds)
  return times.reduce((sum, time) => sum + time, 0) / times.length
}

interface Timing {
  plan: skippipe.SkipPlan
  forward: number
  near: number
  far: number
  steps: number
}

/** Milliseconds of the steps of all data peers over a plan. */
async function time(loopback: Loopback, timing: Timing, signal: AbortSignal): Promise<number[]> {
  const { plan, forward, near, far, steps } = timing
  const names = loopback.nodes.map(({ self }) => self)
  const of = [
    names.slice(0, REGIONS),
    ...Array.from({ length: STAGES }, (_, i) => holdersOf(i + 1).map((m) => names[m] as string)),
  ]
  const cut = stillCut(STAGES, MICROBATCHES, REGIONS)
  const options = pipelineOptionsSchema.parse({
    stages: STAGES,
    microbatches: MICROBATCHES,
    places: 1,
    dataPeers: REGIONS,
    inFlight: PATHS * REGIONS,
    codec: 'float32',
  })
  const ended = new AbortController()
  const end = (): void => ended.abort(signal.reason)
  signal.addEventListener('abort', end, { once: true })
  const taken = names.slice(0, REGIONS).map((): number[] => []) // steps + 1 each, at least
  const enough = (): boolean => taken.every((times) => times.length > steps)
  const swarms: { stop(): Promise<void> }[] = []
  const blobs: { stop(): void }[] = []
  const failures: unknown[] = []
  const runs = loopback.nodes.map(async (node, machine) => {
    const way = (peer: string): number => (regionOf(names.indexOf(peer)) === regionOf(machine) ? near : far)
    const swarm = createSwarm(delayed(node, way), { run: BENCH_RUN, incarnation: Date.now() })
    swarms.push(swarm)
    const own = createBlobs(swarm)
    blobs.push(own)
    const times = { embed: 0, forward, loss: forward / 4, backward: 1.5 * forward }
    const modules: PipelineModules = {
      swarm,
      ...stillStages(cut, times, pipeline.vectors(cut.sizes[0] as number, options, cut)),
      records: memoryRecords(),
      blobs: own,
      manifest: new Uint8Array(1),
      training: { steps: 1_000_000, evaluateEvery: 1_000_000 },
      holders: fixedHolders(node.self, of),
      paths: pathsOf(plan, machine, names),
      report(event: StrategyEvent) {
        if (event.kind === 'step') taken[machine]?.push(event.milliseconds)
        if (enough()) ended.abort()
      },
    }
    await pipeline.create(options, modules).run(ended.signal)
  })
  try {
    await Promise.all(
      runs.map((run) =>
        run.catch((error: unknown) => {
          failures.push(error)
          ended.abort()
        }),
      ),
    )
    signal.throwIfAborted()
    if (failures.length > 0)
      throw new StarlingError('bench-failed', 'a node of the benchmark failed', {}, { cause: failures[0] })
    return taken.flatMap((times) => times.slice(1, steps + 1))
  } finally {
    signal.removeEventListener('abort', end)
    for (const blob of blobs) blob.stop()
    await Promise.all(swarms.map((swarm) => swarm.stop()))
    // Questions under way end before the next plan's are asked.
    await sleep(2 * far)
  }
}

/** The paths of a data peer in a plan. */
function pathsOf({ rounds }: skippipe.SkipPlan, origin: number, names: readonly string[]): PathGenerator {
  return {
    path({ step, microbatch }) {
      const own = (rounds[step % rounds.length] ?? []).filter((path) => path.origin === origin)
      const chosen = own[microbatch % own.length]
      const hops = chosen?.hops ?? []
      const path = hops.map(({ stage, machine }) => ({ stage, peer: names[machine] as string }))
      return { path, start: 1_000 * (chosen?.start ?? 0) }
    },
  }
}
