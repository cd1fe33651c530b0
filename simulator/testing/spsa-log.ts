/** Peers that do nothing but contribute random bytes, and liars that say what they like in the same run. */
import {
  type Answerer,
  CONTRIBUTIONS_TOPIC,
  type ContributionLog,
  createLog,
  createSwarm,
  createSync,
  news,
  originOf,
  type PeerName,
  type RunningSwarm,
  type Segment,
  StarlingError,
  type Strategy,
  type StrategyDefinition,
  type StrategyModules,
  SYNC_METHOD,
  type Sync,
  seededRandom,
  statementOf,
  toHex,
  walk,
} from '../../protocols/index.ts'
import type { MemoryNetwork, MemoryPeer } from '../index.ts'
import { createWorld, type Process, RUN, type World, type WorldOptions } from './world.ts'

export interface ContributorOptions {
  /** Most contributions per peer, how many each one makes (default: all), and how many are published together. */
  steps: number
  goal: number
  batch: number
  /** Mean time for one batch, ms. */
  think: number
  maxAuthors: number
  maxRate: number
  syncEvery: number
}

/** A peer that contributes; its log and sync are there to be looked at. */
export interface Contributor extends Process {
  readonly strategy: ContributorStrategy
}

export interface ContributorStrategy extends Strategy {
  readonly log: ContributionLog
  readonly sync: Sync
  /** Steps that were published in this life. */
  readonly published: ReadonlyMap<number, number>
}

/** A run of contributors. `said` holds what each peer published in any of its lives, by step. */
export interface LogWorld extends World<Contributor> {
  readonly said: ReadonlyMap<PeerName, Map<number, number>>
  /** Starts a peer that follows no rule: it is heard of as a member and does what the test makes it do. */
  liar(name: PeerName): Promise<Liar>
}

export function createLogWorld(
  given: Partial<ContributorOptions> & Pick<WorldOptions<never, Contributor>, 'seed' | 'network' | 'fate' | 'onPut'>,
): LogWorld {
  const { seed, network, fate, onPut, ...some } = given
  const { steps = 40 } = some
  const options = { steps, goal: steps, batch: 4, think: 300, maxAuthors: 32, maxRate: 1000, syncEvery: 2000, ...some }
  const said = new Map<PeerName, Map<number, number>>()

  const definition: StrategyDefinition<ContributorOptions> = {
    name: 'contributor',
    vectors: () => ({}),
    tasks: [],
    create: (chosen, modules) => createContributor(chosen, modules, seed, said),
  }
  const world = createWorld<ContributorOptions, Contributor>({
    seed,
    definition,
    strategy: options,
    size: 16,
    steps,
    ...(network === undefined ? {} : { network }),
    ...(fate === undefined ? {} : { fate }),
    ...(onPut === undefined ? {} : { onPut }),
    extend: (process) => ({ process: process as Contributor }),
  })
  return { ...world, said, liar: (name) => createLiar(world.network, name) }
}

function createContributor(
  options: ContributorOptions,
  { swarm, records, report }: StrategyModules,
  seed: number,
  said: Map<PeerName, Map<number, number>>,
): ContributorStrategy {
  const { steps, goal, maxAuthors, maxRate, syncEvery, batch, think } = options
  const { self, run, clock } = swarm
  const random = seededRandom(seed, self, 'contributions', clock.now())
  let broken: unknown
  const log = createLog(
    { run, self, steps, maxAuthors },
    { records, sign: (data) => swarm.sign(data), verify: (...args) => swarm.verify(...args), clock, report },
  )
  const fail = (error: unknown): void => {
    broken ??= error
  }
  const sync = createSync({ steps, maxAuthors, batch, maxRate, syncEvery }, { swarm, log, report, fail })
  const published = new Map<number, number>()

  const contribute = async (signal: AbortSignal): Promise<void> => {
    const from = log.bytesOf(self).length + 1
    const bytes = Uint8Array.from({ length: Math.min(batch, goal - from + 1) }, () => 1 + random.integer(100))
    await clock.sleep(think * (0.5 + random.uniform()), signal)
    let segment: Segment
    try {
      segment = await log.append(bytes, from)
    } catch (error) {
      if (error instanceof StarlingError && error.code === 'own-log-moved') {
        return
      }
      throw error
    }
    const before = said.get(self) ?? new Map<number, number>()
    said.set(self, before)
    bytes.forEach((byte, index) => {
      if ((before.get(from + index) ?? byte) !== byte) {
        throw new Error(`${self} published two bytes for step ${from + index}`)
      }
      before.set(from + index, byte)
      published.set(from + index, byte)
    })
    await sync.publish(segment)
  }

  return {
    name: 'contributor',
    state: [],
    progress: () => ({}),
    log,
    sync,
    published,
    async run(signal) {
      await log.open()
      sync.start()
      const ended = (error: unknown): void => {
        if (!signal.aborted && !(error instanceof StarlingError && error.code === 'excluded')) {
          throw error
        }
      }
      try {
        await sync.ready(signal)
        while (log.bytesOf(self).length < goal && !log.excluded().has(self) && broken === undefined) {
          await contribute(signal)
        }
      } catch (error) {
        ended(error)
      }
      swarm.announce({ phase: 'finished' }, true)
      while (!signal.aborted && broken === undefined) {
        await clock.sleep(1000, signal).catch(() => undefined)
      }
      await sync.stop()
      if (broken !== undefined) {
        throw broken
      }
    },
  }
}

/** A peer that follows no rule. */
export interface Liar {
  readonly peer: MemoryPeer
  readonly swarm: RunningSwarm
  /** A segment of the history in which this peer contributed `bytes`, signed by it. */
  segment(bytes: readonly number[] | Uint8Array, from?: number): Promise<Segment>
  /** Publishes a segment as it is. */
  publish(segment: Segment): Promise<unknown>
  /** Publishes any bytes on the contributions' topic. */
  shout(data: Uint8Array): Promise<unknown>
  /** Answers every question of anti-entropy with this. */
  answer(answerer: Answerer): void
}

export async function createLiar(network: MemoryNetwork, name: PeerName): Promise<Liar> {
  const peer = network.join(name)
  const swarm = createSwarm(peer, { run: RUN, incarnation: 1 })
  await network.clock.run(swarm.start())
  peer.subscribe(CONTRIBUTIONS_TOPIC, {
    validate: () => ({ verdict: 'ignore', reason: 'deaf' }),
    handle: () => {},
  })
  return {
    peer,
    swarm,
    segment: (bytes, from = 1) => history(peer, name, bytes, from),
    publish: ({ from, bytes, signature }) =>
      peer.publish(CONTRIBUTIONS_TOPIC, news.encode({ kind: 'segment', from, bytes, signature })),
    shout: (data) => peer.publish(CONTRIBUTIONS_TOPIC, data),
    answer: (answerer) => {
      try {
        peer.answer(SYNC_METHOD, answerer)
      } catch {
        network.replaceAnswerer(name, SYNC_METHOD, answerer)
      }
    },
  }
}

/** What `author` would have contributed, signed by the key of `peer`: by its own where the two are the same, and forged where not. */
export async function history(
  peer: MemoryPeer,
  author: PeerName,
  given: readonly number[] | Uint8Array,
  from = 1,
): Promise<Segment> {
  const bytes = Uint8Array.from(given)
  const origin = originOf(RUN, author)
  const head = { count: bytes.length, hash: walk({ count: 0, hash: origin }, bytes) }
  return { author, from, bytes: bytes.slice(from - 1), signature: await peer.sign(statementOf(origin, head)) }
}

/** Peers whose sets or bytes differ from those of the first; empty when all agree. */
export function disagreements(processes: Iterable<Contributor>): string[] {
  const all = [...processes].filter(({ life }) => !life.dead)
  const first = all[0]?.strategy.log
  if (first === undefined) {
    return ['nobody is left']
  }
  return all.flatMap(({ name, strategy: { log } }) => {
    const differ = [...first.version().keys()].filter(
      (author) => toHex(log.bytesOf(author)) !== toHex(first.bytesOf(author)),
    )
    const found = differ.map((author) => `${name} holds other bytes of ${author}`)
    return toHex(log.digest()) === toHex(first.digest()) ? found : [...found, `${name} names another set`]
  })
}
