/** A swarm of peers that gossip fragments, with quadratic learners; some of them may lie. */
import { attacks, type GossipOptions, gossip, gossipOptionsSchema, type PeerName } from '../../protocols/index.ts'
import * as worlds from './world.ts'

export { eventsOf, finish, LIMIT } from './world.ts'

export interface WorldOptions
  extends Omit<worlds.WorldOptions<GossipOptions, worlds.Process>, 'definition' | 'strategy' | 'extend'> {
  /** Options of the strategy, unchecked. */
  strategy?: Record<string, unknown>
  /** What some peers do instead of telling the truth. */
  liars?: Record<PeerName, string>
}

export type Process = worlds.Process
export type World = worlds.World<Process>

export function createWorld({ liars = {}, strategy = {}, meddle, ...options }: WorldOptions): World {
  return worlds.createWorld<GossipOptions, Process>({
    ...options,
    definition: gossip,
    strategy: gossipOptionsSchema.parse(strategy),
    meddle: (name, honest) => {
      const learner = meddle?.(name, honest) ?? honest
      const attack = liars[name]
      return attack === undefined
        ? learner
        : attacks.hostileLearner(learner, {
            attack,
            seed: `${options.seed} ${name}`,
            symmetries: [],
            sends: gossip.sends ?? [],
            crowd: () => ({ peers: 6, faulty: 1 }),
          })
    },
    extend: (process) => ({ process }),
  })
}

/** Root mean square distance of the processes' parameters to their mean. */
export function spread(processes: readonly Process[]): number {
  const thetas = processes.map(({ learner }) => learner.float32('theta'))
  const size = thetas[0]!.length
  let squares = 0
  for (let k = 0; k < size; k++) {
    const mean = thetas.reduce((sum, theta) => sum + theta[k]!, 0) / thetas.length
    squares += thetas.reduce((sum, theta) => sum + (theta[k]! - mean) ** 2, 0)
  }
  return Math.sqrt(squares / thetas.length / size)
}
