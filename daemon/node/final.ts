import { z } from 'zod'
import type { Layout } from '../../models/index.ts'
import {
  type Blobs,
  defineMessage,
  type EvaluationSummary,
  type PeerName,
  StarlingError,
  type Swarm,
  shuffled,
} from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { LocalLearner } from '../trainer/index.ts'

/** Method by which a finished peer names its parameters. */
const FINAL_METHOD = 'final'

/** Longest wait for the peers that still train, milliseconds. They keep their own result whatever happens. */
const FINAL_WAIT = 60_000

/** Wait between two looks at the others, milliseconds. */
const FINAL_LOOK = 500

/** Replicas averaged at most, this node's included. */
const MAX_REPLICAS = 16

/** Most bytes of others' parameters held at once. */
const MAX_BYTES = 1024 ** 3

/** A replica this many times larger or smaller than ours (root mean square) is not of the same training. */
const MAX_SCALE_RATIO = 10

/** Elements worked on in one go: well under 10 ms of the network thread. */
const SLICE = 262_144

/**
 * Refusals that will pass: a peer says that it has finished a moment before it can name its parameters, and one that is busy answers late. Other
 * failures are final for the peer, e.g. one that is stopping.
 */
const PASSING: ReadonlySet<string> = new Set([
  'unknown-method',
  'not-introduced',
  'peer-busy',
  'rate-limited',
  'ask-timeout',
])

/** What a peer is to blame for. */
const FAULTS: ReadonlySet<string> = new Set(['bad-tensor', 'bad-message'])

/** Milliseconds that the final parameters are on offer: the life of the daemon. */
const OFFER_TTL = 365 * 24 * 3_600_000

const finalMessage = defineMessage(
  'final',
  z.strictObject({
    step: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
    root: z.string().regex(/^[0-9a-f]{64}$/),
    size: z
      .number()
      .int()
      .min(0)
      .max(16 * 1024 ** 3),
  }),
  { maxBytes: 256 },
)

/** The average of the replicas and how it does. */
export interface FinalModel {
  /** Replicas in the average. */
  replicas: number
  /** Root mean square over all parameters of their standard deviation over the replicas. */
  deviation: number
  /** Validation loss of the average. */
  average: EvaluationSummary
  /** Validation loss of this node's own replica. */
  own: EvaluationSummary
}

export interface FinalModules {
  swarm: Swarm
  blobs: Blobs
  learner: LocalLearner
  log: Log
  waiting(what: string): void
}

/**
 * Ends a run on this node: offers the parameters to the others, waits a while for those that still train, fetches what
 * they ended with, and leaves the average in the vector 'gradient', which training no longer needs. Every peer computes it for itself; nobody must wait for anybody.
 */
export async function averageReplicas(layout: Layout, modules: FinalModules, signal: AbortSignal): Promise<FinalModel> {
  const { swarm, blobs, learner } = modules
  const theta = learner.float32('theta')
  const step = learner.step()
  const own = await learner.evaluate({ signal })
  const reference = await blobs.offer(learner.bytes('theta'), { ttl: OFFER_TTL, signal })
  const unanswer = swarm.answer(FINAL_METHOD, () => finalMessage.encode({ step, ...reference }))
  signal.addEventListener('abort', unanswer, { once: true })
  swarm.announce({ phase: 'finished', step }, true)
  const replicas = [theta, ...(await othersReplicas(theta, reference.size, modules, signal))]
  const deviation = await averageInto(learner.float32('gradient'), replicas, layout.parameters)
  const average = replicas.length === 1 ? own : await learner.evaluate({ signal, vector: 'gradient' })
  return { replicas: replicas.length, deviation, average, own }
}

/**
 * Fetches what the others ended with, each as soon as it has finished, and waits for those that still train, at most FINAL_WAIT. Peers that are not
 * connected, and those that leave meanwhile, are left out.
 */
async function othersReplicas(
  own: Float32Array,
  size: number,
  modules: FinalModules,
  signal: AbortSignal,
): Promise<Float32Array[]> {
  const { swarm, log, waiting } = modules
  const deadline = swarm.clock.now() + FINAL_WAIT
  const random = swarm.random('final')
  const room = Math.min(MAX_REPLICAS - 1, Math.floor(MAX_BYTES / size))
  const energy = await energyOf(own)
  const replicas: Float32Array[] = []
  const settled = new Set<PeerName>() // at most the members met within FINAL_WAIT
  let told = false
  for (;;) {
    const connected = new Set(swarm.connected())
    const open = swarm.members().filter(({ peer }) => !settled.has(peer))
    // In random order, or everyone of a large swarm would ask the same few.
    const finished = open.filter(({ peer, status }) => status.phase === 'finished' && connected.has(peer))
    let passing = false
    for (const { peer } of shuffled(finished, random)) {
      if (replicas.length >= room) break
      try {
        replicas.push(await fetchReplica(peer, size, energy, modules, signal))
        settled.add(peer)
      } catch (error) {
        if (signal.aborted || !(error instanceof StarlingError)) throw error
        if (PASSING.has(error.code) && swarm.clock.now() < deadline) {
          passing = true
          continue
        }
        settled.add(peer)
        if (FAULTS.has(error.code)) {
          swarm.penalize(peer, error.code)
          log.warn('a replica is refused and left out of the final average', { peer }, error)
        } else log.debug('a replica could not be had for the final average', { peer }, error)
      }
    }
    const training = open.some(({ status }) => status.phase === 'training')
    if (replicas.length >= room || !(training || passing) || swarm.clock.now() >= deadline) return replicas
    if (training && !told) {
      waiting('the others to finish')
      told = true
    }
    await swarm.clock.sleep(FINAL_LOOK, signal)
  }
}

/** The parameters of one peer, checked. */
async function fetchReplica(
  peer: PeerName,
  size: number,
  ownEnergy: number,
  { swarm, blobs }: FinalModules,
  signal: AbortSignal,
): Promise<Float32Array> {
  const options = { signal, maxAnswer: finalMessage.maxBytes }
  const said = finalMessage.decode(await swarm.ask(peer, FINAL_METHOD, new Uint8Array(0), options))
  if (said.size !== size)
    throw new StarlingError('bad-tensor', `its parameters have ${said.size} bytes instead of ${size}`, { peer })
  const bytes = new Uint8Array(size)
  await blobs.pull([peer], { root: said.root, size }, bytes, { signal })
  const values = new Float32Array(bytes.buffer)
  const energy = await energyOf(values)
  if (!Number.isFinite(energy)) throw new StarlingError('bad-tensor', 'its parameters are not finite', { peer })
  const ratio = Math.sqrt(energy / ownEnergy)
  if (ownEnergy > 0 && !(ratio <= MAX_SCALE_RATIO && ratio >= 1 / MAX_SCALE_RATIO))
    throw new StarlingError('bad-tensor', `its parameters are ${ratio.toPrecision(3)} times the size of ours`, { peer })
  return values
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Sum of the squares; not finite when a value is not: squares of floats do not overflow a double. */
async function energyOf(values: Float32Array): Promise<number> {
  let energy = 0
  for (let start = 0; start < values.length && Number.isFinite(energy); start += SLICE) {
    const end = Math.min(start + SLICE, values.length)
    for (let i = start; i < end; i++) energy += (values[i] as number) ** 2
    await turn()
  }
  return energy
}

/** mean <- the mean of the replicas, in doubles; returns the root mean square deviation per parameter (padding is zero in all and counts for nothing). */
async function averageInto(mean: Float32Array, replicas: readonly Float32Array[], parameters: number): Promise<number> {
  const n = replicas.length
  const sums = new Float64Array(Math.min(SLICE, mean.length))
  let squares = 0
  for (let start = 0; start < mean.length; start += SLICE) {
    const end = Math.min(start + SLICE, mean.length)
    sums.fill(0)
    for (const replica of replicas) {
      for (let i = start; i < end; i++) sums[i - start] = (sums[i - start] as number) + (replica[i] as number)
      await turn()
    }
    for (let i = start; i < end; i++) mean[i] = (sums[i - start] as number) / n
    for (const replica of replicas) {
      for (let i = start; i < end; i++) squares += ((replica[i] as number) - (sums[i - start] as number) / n) ** 2
      await turn()
    }
  }
  return n < 2 ? 0 : Math.sqrt(squares / (n - 1) / parameters)
}
