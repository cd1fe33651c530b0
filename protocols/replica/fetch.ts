/**
 * Handing a whole replica from one peer to another, exactly: for a peer that joins late or was away for long. What travels is the vector 'snapshot'
 * in float32, filled and taken over by the strategy; the taker starts with a fresh optimizer, at the giver's step and round.
 */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import type { ComputeTask, Member, PeerName } from '../ports.ts'
import { shuffled } from '../random.ts'
import type { StrategyModules } from '../strategy.ts'
import { blobReferenceSchema, type Giving, giveCopies } from '../transfer/index.ts'
import { defineMessage } from '../wire/index.ts'
import type { Progress } from './progress.ts'

/** Joiner to donor: name your replica. */
export const REPLICA_METHOD = 'replica'

/**
 * Rounds above this are not believed, whoever claims them: with the jump to the largest one that is, a peer still has as many before it as messages
 * can count. An honest run gets there in millions of years.
 */
export const MAX_CLAIMED_ROUND = 2 ** 47

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)

/** The answer: at which step and round the replica is, and its bytes by hash. */
export const replicaAnswer = defineMessage(
  'replica',
  z.strictObject({ step: count, round: count, ...blobReferenceSchema.shape }),
  { maxBytes: 256 },
)

/** What a strategy does with the vector 'snapshot', which it declares, as long as theta. */
export interface ReplicaTasks {
  /** snapshot <- the replica, for others to fetch. */
  snapshot: ComputeTask<null, null>
  /** The replica <- snapshot, fetched from another peer. Throws StarlingError 'bad-tensor', and changes nothing, when it is not finite. */
  adopt: ComputeTask<null, null>
}

/** Whole time for the name of a replica, ms: the giver may have to finish a training step, copy and hash. */
const NAME_TIMEOUT = 60_000

/** Pause after all givers failed, ms. */
const RETRY = 1_000

/** Rounds that a member may be ahead of twice the middle one: some peers of a young run are quicker than others to begin. */
const ROUND_SLACK = 1_000

/** Phases in which a peer can give its replica away. */
const GIVERS: readonly string[] = ['training', 'finished']

/** Where a replica came from. */
export interface FetchedReplica {
  donor: PeerName
  step: number
  round: number
  bytes: number
  milliseconds: number
}

type Modules = Pick<StrategyModules, 'swarm' | 'learner' | 'blobs' | 'training'>

/** Gives this peer's replica to whoever asks, from a copy, so that training goes on meanwhile. */
export function giveReplicas(
  { swarm, learner, blobs }: Modules,
  tasks: ReplicaTasks,
  state: () => Readonly<Progress>,
): Giving {
  return giveCopies(
    { swarm, blobs },
    {
      method: REPLICA_METHOD,
      bytes: learner.bytes('snapshot'),
      ready: () => state().ready,
      async copy() {
        const { round, roundStep } = state()
        await learner.compute(tasks.snapshot, null)
        return { step: roundStep, round }
      },
      answer: (about, reference) => replicaAnswer.encode({ ...about, ...reference }),
    },
  )
}

/**
 * The newest round of the members that have a replica to give, and undefined when there are none. Those who claim to be in more than twice the round
 * of the middle one are not believed: what honest peers are apart, beside the slack, is what a slow one lags, and one liar must take nobody along.
 */
export function newestRound(members: readonly Member[]): number | undefined {
  let least: number | undefined
  let most = 0
  for (const { status } of members) {
    if (GIVERS.includes(status.phase) && status.round <= MAX_CLAIMED_ROUND) {
      least = least === undefined || status.round < least ? status.round : least
      most = Math.max(most, status.round)
    }
  }
  // The usual case: the middle one is at least the least.
  if (least === undefined || most <= 2 * least + ROUND_SLACK) {
    return least === undefined ? undefined : most
  }
  const rounds = members
    .filter(({ status }) => GIVERS.includes(status.phase) && status.round <= MAX_CLAIMED_ROUND)
    .map(({ status }) => status.round)
    .sort((a, b) => a - b)
  const middle = rounds[(rounds.length - 1) >> 1]
  return middle === undefined ? undefined : rounds.findLast((round) => round <= 2 * middle + ROUND_SLACK)
}

/**
 * Fetches a replica from a random member that has one, and from another one when that fails, until one was adopted and the
 * learner's step set. Waits for such a member where there is none. Rejects with 'aborted', and leaves the parameters alone then.
 */
export async function fetchReplica(
  { swarm, learner, blobs, training }: Modules,
  tasks: ReplicaTasks,
  options: {
    signal: AbortSignal
    onWaiting(what: string, peer?: PeerName): void
    onRejected(peer: PeerName, reason: string): void
  },
): Promise<FetchedReplica> {
  const { signal } = options
  const started = swarm.clock.now()
  const random = swarm.random('replica-donor')
  const into = learner.bytes('snapshot')
  // What has been said of this wait; at most as many as there were members meanwhile.
  const told = new Set<string>()
  const tell = (what: string, peer?: PeerName): void => {
    const key = `${what} ${peer}`
    if (!told.has(key)) {
      told.add(key)
      options.onWaiting(what, peer)
    }
  }
  for (;;) {
    // Peers far behind are poor givers: their replica would be out of date at once.
    const newest = newestRound(swarm.members()) ?? 0
    const givers = swarm.members().filter(({ status }) => GIVERS.includes(status.phase) && 2 * status.round >= newest)
    for (const { peer } of shuffled(givers, random)) {
      tell('a replica', peer)
      try {
        const answer = await swarm.ask(peer, REPLICA_METHOD, new Uint8Array(0), { signal, timeout: NAME_TIMEOUT })
        const { step, round, root, size } = replicaAnswer.decode(answer)
        if (size !== into.byteLength) {
          throw new StarlingError('bad-tensor', `its replica has ${size} bytes instead of ${into.byteLength}`, { peer })
        }
        if (step > training.steps || round > MAX_CLAIMED_ROUND) {
          throw new StarlingError('bad-tensor', `its replica is of step ${step}, round ${round}`, { peer, step, round })
        }
        // One giver only: replicas differ, and pieces of two would be neither.
        await blobs.pull([peer], { root, size }, into, { signal })
        await learner.compute(tasks.adopt, null, signal)
        await learner.setStep(step)
        return { donor: peer, step, round, bytes: size, milliseconds: swarm.clock.now() - started }
      } catch (error) {
        if (signal.aborted) {
          throw new StarlingError('aborted', 'fetching a replica was given up', {}, { cause: error })
        }
        if (!(error instanceof StarlingError)) {
          throw error
        }
        if (error.code === 'bad-tensor' || error.code === 'bad-message') {
          swarm.penalize(peer, error.code)
          options.onRejected(peer, error.message)
        }
      }
    }
    tell('a member with a replica')
    await swarm.clock.sleep(RETRY, signal).catch(() => undefined)
    if (signal.aborted) {
      throw new StarlingError('aborted', 'fetching a replica was given up', {})
    }
  }
}
