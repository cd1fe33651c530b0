/** What is simulated, as plain data: who takes part, over which network, who comes and goes, and who lies. */
import { z } from 'zod'
import { attacks, problemSentence, problemsOf, StarlingError, seededRandom } from '../../protocols/index.ts'
import { SIMULATED, type SimulatedName, type StrategyOptions, simulatedOf } from './strategies.ts'

/** Most peers of one simulation: what 16 GB of memory hold. */
export const MAX_PEERS = 20_000

/** Above so many peers heartbeats would be nearly all that is simulated, and membership is shared unless asked for. */
export const MAX_HEARTBEAT_PEERS = 256

const share = z.number().min(0).max(1)
const seconds = z
  .number()
  .positive()
  .max(365 * 86_400)

/** Which peers die and come back, and when. A peer that comes back goes on from the checkpoint of its last round. */
export const churnSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  /** In every round's time this share of the peers dies, each at a moment of its own, and comes back half such a time later. */
  z.strictObject({ kind: z.literal('share'), perRound: share }),
  /** Every peer lives and is away for exponential times with these means. */
  z.strictObject({ kind: z.literal('poisson'), up: seconds, down: seconds }),
  /** As if in time zones around the world, every peer is away for this share of each day. */
  z.strictObject({ kind: z.literal('diurnal'), day: seconds.default(86_400), away: share.default(0.5) }),
  /** That share dies at once and comes back later. */
  z.strictObject({ kind: z.literal('mass'), at: seconds, share, down: seconds }),
  /** Every 0.5 to 2 s a coin decides: with 60 % a peer that is down is started, else one that is up is killed (the stress test of PCCL). */
  z.strictObject({ kind: z.literal('pccl') }),
  /** What happened somewhere, in seconds from the start. */
  z.strictObject({
    kind: z.literal('trace'),
    events: z
      .array(z.strictObject({ at: z.number().min(0), peer: z.string().max(64), what: z.enum(['kill', 'start']) }))
      .max(1_000_000),
  }),
])

/** Part of the peers that is cut off from all others for a while. */
const partitionSchema = z.strictObject({
  at: z
    .number()
    .min(0)
    .max(365 * 86_400),
  for: seconds,
  share,
})

/** Most partitions of one scenario. */
const MAX_PARTITIONS = 1_000

export const scenarioSchema = z.strictObject({
  peers: z.number().int().min(2).max(MAX_PEERS),
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 48)
    .default(0),
  /** Rounds that every peer trains for: so many times the optimizer steps from one meeting with others to the next. */
  rounds: z.number().int().min(1).max(1_000_000).default(100),
  /** Name and options of the strategy, as in a run. */
  strategy: z.looseObject({ name: z.string() }).prefault({ name: 'noloco' }),
  /** A small network on clusters of points, a quadratic with noise, or a learner that the caller brings. */
  learner: z.enum(['mlp', 'quadratic', 'real']).default('mlp'),
  /** Who is there: by heartbeats as in the daemon, or from one table that all read (simulator/directory.ts). */
  membership: z.enum(['auto', 'heartbeats', 'shared']).default('auto'),
  network: z
    .strictObject({
      /** Median one-way delay inside a region, ms. */
      latency: z.number().min(0).max(60_000).default(40),
      /** Deviation of its logarithm, drawn anew for every message. */
      spread: z.number().min(0).max(3).default(0.5),
      /** 'world': peers live in six regions, with the usual delays between these. */
      regions: z.enum(['one', 'world']).default('one'),
      /** Of gossip on its whole way; questions are asked again by whoever asks. */
      loss: z.number().min(0).max(0.95).default(0),
      /** Megabits per second; a message takes as long as the slower of its sender's upload and receiver's download. */
      upload: z.number().positive().max(1e6).default(20),
      download: z.number().positive().max(1e6).default(100),
      /** Gossip reaches everybody once and by itself, or through a mesh of gossipsub routers, hop by hop. */
      gossip: z.enum(['broadcast', 'mesh']).default('broadcast'),
      /** Share of the peers that nobody can dial. Two of them reach each other over a relay, which doubles the way. */
      nat: share.default(0),
    })
    .prefault({}),
  speed: z
    .strictObject({
      /** Median duration of an optimizer step, ms, and the deviation of its logarithm over the peers. */
      step: z.number().positive().max(1e7).default(250),
      spread: z.number().min(0).max(3).default(0.3),
      /** A second class: this share of the peers takes `factor` times as long. */
      slow: z.strictObject({ share, factor: z.number().min(1).max(1_000) }).default({ share: 0, factor: 1 }),
    })
    .prefault({}),
  /** A random share of the peers is cut off from the others at a moment, for so long; seconds. One after the other. */
  partitions: z.array(partitionSchema).max(MAX_PARTITIONS).default([]),
  churn: churnSchema.default({ kind: 'none' }),
  liars: z
    .strictObject({ count: z.number().int().min(0), attack: z.string().max(64).default('sign-flip') })
    .default({ count: 0, attack: 'sign-flip' }),
})

/** A checked scenario. */
export type Scenario = Omit<z.output<typeof scenarioSchema>, 'strategy'> & { strategy: StrategyOptions }
export type Churn = Scenario['churn']

/** Names of the peers, in the order in which they start. */
export function peerNames(peers: number): string[] {
  const digits = String(peers - 1).length
  return Array.from({ length: peers }, (_, i) => `peer-${String(i).padStart(digits, '0')}`)
}

/** Optimizer steps of a round. */
export function intervalOf({ strategy }: Pick<Scenario, 'strategy'>): number {
  return simulatedOf(strategy).interval(strategy)
}

/** Whether the peers know of each other from one table. */
export function hasSharedMembership({ membership, peers }: Pick<Scenario, 'membership' | 'peers'>): boolean {
  return membership === 'auto' ? peers > MAX_HEARTBEAT_PEERS : membership === 'shared'
}

/** The scenario in `value`, defaults filled in. Throws StarlingError 'bad-scenario' in one line that names the key. */
export function checkScenario(value: unknown): Scenario {
  const checked = inForm(scenarioSchema, value)
  const scenario: Scenario = { ...checked, strategy: strategyOf(checked.strategy) }
  checkLiars(scenario)
  checkNetwork(scenario)
  if (scenario.churn.kind === 'trace') {
    const known = peerNames(scenario.peers)
    const names = new Set(known)
    const stranger = scenario.churn.events.find(({ peer }) => !names.has(peer))
    if (stranger !== undefined) {
      throw bad('churn.events', `the trace names ${stranger.peer}, and peers are ${known[0]} to ${known.at(-1)}`)
    }
  }
  return scenario
}

function strategyOf({ name, ...options }: { name: string } & Record<string, unknown>): StrategyOptions {
  if (!Object.hasOwn(SIMULATED, name)) {
    const known = Object.keys(SIMULATED).join(', ')
    throw bad('strategy.name', `${name} needs a real network; what can be simulated is ${known}`)
  }
  const { schema } = SIMULATED[name as SimulatedName]
  return { name, ...inForm<object>(schema, options, 'strategy') } as StrategyOptions
}

function checkLiars({ liars, peers, strategy }: Scenario): void {
  if (liars.count >= peers) {
    throw bad('liars', `must be fewer than the ${peers} peers, not ${liars.count}`)
  }
  if (liars.count === 0) {
    return
  }
  if ((simulatedOf(strategy).definition.sends ?? []).length === 0) {
    throw bad('liars', `peers of ${strategy.name} send no parameters that a lie could change; use noloco or gossip`)
  }
  // Throws 'bad-option' with what is allowed.
  attacks.createAttack(liars.attack, { random: seededRandom('form'), symmetries: [] })
}

/** Refuses what would change nothing: whoever asks for it would believe that it did. */
function checkNetwork(scenario: Scenario): void {
  const { network, strategy, partitions } = scenario
  const shared = hasSharedMembership(scenario)
  if (shared && strategy.name === 'noloco') {
    const reason = 'is of gossip, and noloco gossips nothing but heartbeats; it needs membership: heartbeats'
    if (network.loss > 0) {
      throw bad('network.loss', reason)
    }
    if (network.gossip === 'mesh') {
      throw bad('network.gossip', reason)
    }
  }
  if (partitions.length === 0) {
    return
  }
  if (shared) {
    throw bad(
      'partitions',
      'the table of membership: shared goes through every partition; it needs membership: heartbeats',
    )
  }
  let end = 0
  for (const { at, for: duration } of partitions) {
    if (at < end) {
      throw bad('partitions', `one begins at ${at} s, before the one before it ends at ${end} s`)
    }
    end = at + duration
  }
}

/** The checked value; of what is wrong with it, the first thing in one line. */
function inForm<T>(schema: z.ZodType<T>, value: unknown, ...path: string[]): T {
  const { found, data } = problemsOf(schema, value, path)
  const [problem] = found
  if (problem !== undefined || data === undefined) {
    const key = [...(problem?.path ?? path), ...(problem?.key === undefined ? [] : [problem.key])].join('.')
    throw new StarlingError(
      'bad-scenario',
      problem === undefined ? 'the scenario is empty' : problemSentence(problem),
      {
        key,
      },
    )
  }
  return data
}

function bad(key: string, message: string): StarlingError {
  return new StarlingError('bad-scenario', `${key}: ${message}`, { key })
}
