/** The strategies that scenarios can be made of, and what a simulation has to know of each. */
import type * as z from 'zod'
import {
  constantsOf,
  type GossipOptions,
  gossip,
  gossipOptionsSchema,
  type NolocoOptions,
  noloco,
  nolocoOptionsSchema,
  type SpsaOptions,
  type StrategyDefinition,
  type StrategyEvent,
  spsa,
  spsaOptionsSchema,
} from '../../protocols/index.ts'
import { type CheckParts, type Checks, NoChecks, NolocoChecks, SpsaChecks } from './checks/index.ts'

/** One of them. */
export interface SimulatedStrategy<Options> {
  readonly definition: StrategyDefinition<Options>
  readonly schema: z.ZodType<Options>
  /** Optimizer steps from one meeting with others to the next: what `rounds` counts. */
  interval(options: Options): number
  /** Whether a peer writes a checkpoint after this event. */
  keeps(event: StrategyEvent): boolean
  checks(options: Options, parts: CheckParts): Checks
}

const simulatedNoloco: SimulatedStrategy<NolocoOptions> = {
  definition: noloco,
  schema: nolocoOptionsSchema as z.ZodType<NolocoOptions>,
  interval: ({ innerSteps }) => innerSteps,
  keeps: ({ kind }) => kind === 'exchange' || kind === 'exchange-skipped' || kind === 'joined',
  checks: (options, parts) => new NolocoChecks({ ...parts, constants: constantsOf(options) }),
}

const simulatedGossip: SimulatedStrategy<GossipOptions> = {
  definition: gossip,
  schema: gossipOptionsSchema as z.ZodType<GossipOptions>,
  interval: ({ interval }) => interval,
  keeps: ({ kind }) => kind === 'mixed' || kind === 'joined',
  checks: () => new NoChecks(),
}

const simulatedSpsa: SimulatedStrategy<SpsaOptions> = {
  definition: spsa,
  schema: spsaOptionsSchema as unknown as z.ZodType<SpsaOptions>,
  // Contributions travel in batches, or as the coordinates of one drift.
  interval: ({ batch, coordinates }) => coordinates ?? batch,
  keeps: ({ kind }) => kind === 'contributions',
  checks: (_, parts) => new SpsaChecks(parts),
}

export const SIMULATED = { noloco: simulatedNoloco, gossip: simulatedGossip, spsa: simulatedSpsa } as const

export type SimulatedName = keyof typeof SIMULATED

/** Options of a strategy with its name, as in the part `strategy` of a run. */
export type StrategyOptions =
  | ({ name: 'noloco' } & NolocoOptions)
  | ({ name: 'gossip' } & GossipOptions)
  | ({ name: 'spsa' } & SpsaOptions)

/** What a simulation has to know of a strategy, for any of them: the options fit, as they were checked by its own schema. */
export function simulatedOf({ name }: StrategyOptions): SimulatedStrategy<StrategyOptions> {
  return SIMULATED[name] as unknown as SimulatedStrategy<StrategyOptions>
}
