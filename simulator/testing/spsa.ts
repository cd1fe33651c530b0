/** A swarm of peers that train by one byte per gradient, on quadratic losses that differ from batch to batch and from peer to peer. */
import { createHash } from 'node:crypto'
import { loadKernels, twins } from '../../kernels/index.ts'
import { type PeerName, type SpsaOptions, spsa, spsaOptionsSchema } from '../../protocols/index.ts'
import * as worlds from './world.ts'

export { eventsOf, finish, LIMIT } from './world.ts'

export interface WorldOptions
  extends Omit<worlds.WorldOptions<SpsaOptions, Process>, 'definition' | 'strategy' | 'kernels' | 'extend'> {
  /** Options of the strategy, unchecked. Short times fit the simulation's. */
  strategy?: Record<string, unknown>
}

export type Process = worlds.Process

export interface World extends worlds.World<Process> {
  /**
   * What was wrong so far: two peers that held the same set at any moment, and not the same sums or parameters. Looked at whenever a peer's parameters
   * changed.
   */
  readonly differences: string[]
}

/** SHA-256 of a vector of a process. */
export function hashOf(process: Process, vector: string): string {
  return createHash('sha256').update(process.learner.bytes(vector)).digest('hex')
}

/** The set that the parameters of a process are those of, as text. */
export function setOf(process: Process): string {
  const { version } = process.strategy.progress() as { version: Record<PeerName, number> }
  return JSON.stringify(Object.entries(version).sort())
}

export function createWorld(options: WorldOptions): World {
  /** By set: what the first peer that held it had. */
  const seen = new Map<string, { name: PeerName; sums: string; theta: string }>()
  const differences: string[] = []
  const world = worlds.createWorld<SpsaOptions, Process>({
    ...options,
    definition: spsa,
    // Both kinds in one swarm: a difference of one bit would show.
    kernels: (name, vectors) => (/[02468]$/.test(name) ? loadKernels(vectors) : twins),
    strategy: spsaOptionsSchema.parse({ learningRate: 0.5, epsilon: 0.01, ...options.strategy }),
    onEvent(process, event) {
      if (event.kind === 'contributions') {
        const set = setOf(process)
        const now = { name: process.name, sums: hashOf(process, 'sums'), theta: hashOf(process, 'theta') }
        const before = seen.get(set) ?? now
        seen.set(set, before)
        for (const vector of ['sums', 'theta'] as const) {
          if (before[vector] !== now[vector]) {
            differences.push(`${vector} of ${set} at ${before.name} and ${now.name}`)
          }
        }
      }
      options.onEvent?.(process, event)
    },
    extend: (process) => ({ process }),
  })
  return { ...world, differences }
}
