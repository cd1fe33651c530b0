/** A swarm of NoLoCo peers with quadratic learners; what they took together is kept, so that both sides of an exchange can be compared. */
import { attacks, type ExchangePhase, noloco, nolocoOptionsSchema, type PeerName } from '../../protocols/index.ts'
import * as worlds from './world.ts'

export { eventsOf, type Fate, finish, LIMIT } from './world.ts'

export interface WorldOptions {
  seed: number
  size?: number
  steps?: number
  noise?: number
  learningRate?: (step: number) => number
  /** Options of the strategy, unchecked. */
  strategy?: Record<string, unknown>
  fate?: (from: PeerName, to: PeerName, method: string) => worlds.Fate
  /** Called at each moment of an exchange; it may kill the process. */
  onPhase?: (process: Process, phase: ExchangePhase) => void
  latency?: readonly [number, number]
  /** Attacks by peer. */
  liars?: Record<PeerName, string>
}

export interface Process extends worlds.Process {
  readonly phases: { phase: ExchangePhase; round: number }[]
}

export interface World extends worlds.World<Process> {
  /** Partner by round, undefined for a round alone, as of the replica that the peer has now. */
  lineage(name: PeerName): Map<number, PeerName | undefined>
  /** Share of the way to the partner's message that was taken, by round, as the peer last told it. */
  shares(name: PeerName): Map<number, number>
}

export function createWorld(options: WorldOptions): World {
  const lineages = new Map<PeerName, Map<number, PeerName | undefined>>()
  const lineage = (name: PeerName): Map<number, PeerName | undefined> => {
    const found = lineages.get(name) ?? new Map<number, PeerName | undefined>()
    lineages.set(name, found)
    return found
  }
  const taken = new Map<PeerName, Map<number, number>>()
  const shares = (name: PeerName): Map<number, number> => {
    const found = taken.get(name) ?? new Map<number, number>()
    taken.set(name, found)
    return found
  }
  /** Processes that have gone through a round or fetched a replica. */
  const begun = new WeakSet<Process>()

  const record = (process: Process, round: number, partner: PeerName | undefined): void => {
    const rounds = lineage(process.name)
    if (!begun.has(process)) {
      // What this process begins with replaces what the one before it had done since.
      for (const key of [...rounds.keys()].filter((key) => key >= round)) {
        rounds.delete(key)
      }
      begun.add(process)
    }
    rounds.set(round, partner)
  }

  const world = worlds.createWorld<ReturnType<typeof nolocoOptionsSchema.parse>, Process>({
    ...options,
    definition: noloco,
    strategy: nolocoOptionsSchema.parse(options.strategy ?? {}),
    learner: { noise: options.noise ?? 1, learningRate: options.learningRate ?? (() => 0.05) },
    ...(options.latency === undefined ? {} : { network: { latency: options.latency } }),
    meddle: (name, learner) => {
      const attack = options.liars?.[name]
      const seed = `${options.seed} ${name}`
      const crowd = (): { peers: number; faulty: number } => ({ peers: 6, faulty: 1 })
      return attack === undefined
        ? learner
        : attacks.hostileLearner(learner, { attack, seed, symmetries: [], sends: noloco.sends ?? [], crowd })
    },
    onEvent(process, event) {
      if (event.kind === 'exchange') {
        record(process, event.round, event.partner)
        shares(process.name).set(event.round, event.share ?? 1)
      } else if (event.kind === 'exchange-skipped') {
        record(process, event.round, undefined)
      } else if (event.kind === 'joined') {
        lineage(process.name).clear()
        begun.add(process)
        // The daemon's first one comes with the first round; later ones are up to the test.
        world.network.clock.schedule(0, () => process.life.dead || process.checkpoint())
      }
    },
    extend(common) {
      const process: Process = Object.assign(common, { phases: [] })
      const onPhase = (phase: ExchangePhase): Promise<void> | undefined => {
        process.phases.push({ phase, round: Number(process.strategy.progress().round) + 1 })
        options.onPhase?.(process, phase)
        // Whoever was killed right now does not come back from here.
        return process.life.dead ? new Promise(() => {}) : undefined
      }
      return { process, modules: { onPhase } }
    },
  })
  return { ...world, lineage, shares }
}

/** Rounds in which two peers do not agree about having met, or about the share they took, in words; empty when all is well. */
export function disagreements(world: World): string[] {
  const found: string[] = []
  for (const [name] of world.processes) {
    for (const [round, partner] of world.lineage(name)) {
      if (partner === undefined) {
        continue
      }
      const other = world.lineage(partner)
      const [own, its] = [world.shares(name).get(round), world.shares(partner).get(round)]
      if (other.get(round) === name && own !== its) {
        found.push(`round ${round}: ${name} took the share ${own} and ${partner} ${its}`)
      }
      if (other.size > 0 && other.get(round) !== name && Math.min(...other.keys()) <= round) {
        found.push(
          `round ${round}: ${name} met ${partner}, which ${other.has(round) ? `met ${other.get(round) ?? 'nobody'}` : 'skipped it'}`,
        )
      }
    }
  }
  return found
}
