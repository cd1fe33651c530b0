/** What is simulated, as plain data: who takes part, over which network, who comes and goes, and who lies. */
import { z } from 'zod'
import { attacks, type NolocoOptions, nolocoOptionsSchema, StarlingError, seededRandom } from '../../protocols/index.ts'

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

export const scenarioSchema = z.strictObject({
  peers: z.number().int().min(2).max(MAX_PEERS),
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 48)
    .default(0),
  /** Outer rounds that every peer trains for. */
  rounds: z.number().int().min(1).max(1_000_000).default(100),
  /** Options of the strategy; NoLoCo is the one that is simulated. */
  noloco: nolocoOptionsSchema.prefault({}),
  /** A small network on clusters of points, or a quadratic with noise. */
  learner: z.enum(['mlp', 'quadratic']).default('mlp'),
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
      /** Peers that nobody can dial. Two of them reach each other over a relay, which doubles the way. */
      nat: share.default(0),
    })
    .prefault({}),
  speed: z
    .strictObject({
      /** Median duration of an optimizer step, ms, and the deviation of its logarithm over the peers. */
      step: z.number().positive().max(1e7).default(250),
      spread: z.number().min(0).max(3).default(0.3),
    })
    .prefault({}),
  churn: churnSchema.default({ kind: 'none' }),
  liars: z
    .strictObject({ count: z.number().int().min(0), attack: z.string().max(64).default('sign-flip') })
    .default({ count: 0, attack: 'sign-flip' }),
})

/** A checked scenario. */
export type Scenario = z.output<typeof scenarioSchema> & { noloco: NolocoOptions }
export type Churn = Scenario['churn']

/** Names of the peers, in the order in which they start. */
export function peerNames(peers: number): string[] {
  const digits = String(peers - 1).length
  return Array.from({ length: peers }, (_, i) => `peer-${String(i).padStart(digits, '0')}`)
}

/** The scenario in `value`, defaults filled in. Throws StarlingError 'bad-scenario' in one line that names the key. */
export function checkScenario(value: unknown): Scenario {
  const checked = scenarioSchema.safeParse(value)
  if (!checked.success) {
    const issue = checked.error.issues[0]
    throw bad(issue?.path.join('.') ?? '', issue?.message ?? 'is not valid')
  }
  const scenario = checked.data
  if (scenario.liars.count >= scenario.peers) {
    throw bad('liars', `must be fewer than the ${scenario.peers} peers, not ${scenario.liars.count}`)
  }
  if (scenario.liars.count > 0) {
    // Throws 'bad-option' with what is allowed.
    attacks.createAttack(scenario.liars.attack, { random: seededRandom('form'), symmetries: [] })
  }
  if (scenario.churn.kind === 'trace') {
    const names = new Set(peerNames(scenario.peers))
    const stranger = scenario.churn.events.find(({ peer }) => !names.has(peer))
    if (stranger !== undefined) {
      const known = peerNames(scenario.peers)
      throw bad('churn.events', `the trace names ${stranger.peer}, and peers are ${known[0]} to ${known.at(-1)}`)
    }
  }
  return scenario
}

function bad(key: string, message: string): StarlingError {
  return new StarlingError('bad-scenario', key === '' ? message : `${key}: ${message}`, { key })
}
