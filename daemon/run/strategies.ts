/** Every way to agree that this version knows, for the node (by name) and for the trainer thread (their compute tasks). */
import type * as z from 'zod'
import {
  attacks,
  CONTRIBUTIONS_TOPIC,
  type ComputeTask,
  FRAGMENTS_TOPIC,
  gossip,
  gossipOptionsSchema,
  noloco,
  nolocoOptionsSchema,
  pipeline,
  pipelineOptionsSchema,
  STAGES_TOPIC,
  type StrategyDefinition,
  spsa,
  spsaOptionsSchema,
} from '../../protocols/index.ts'

/** A strategy as a run uses it. */
export interface StrategyEntry {
  // biome-ignore lint/suspicious/noExplicitAny: each entry's options fit its own definition; nobody else looks inside.
  readonly definition: StrategyDefinition<any>
  /** What stands beside `name` in the manifest; parsing fills in the defaults, so a parsed section is the options of the definition. */
  readonly schema: z.ZodType<Record<string, unknown>>
  /** Gossip topics that it uses. */
  readonly topics: readonly string[]
}

/** File URL of this module, for the trainer thread. */
export const strategiesModule: string = import.meta.url

export const strategies: Readonly<Record<string, StrategyEntry>> = {
  noloco: { definition: noloco, schema: nolocoOptionsSchema as z.ZodType<Record<string, unknown>>, topics: [] },
  gossip: {
    definition: gossip,
    schema: gossipOptionsSchema as z.ZodType<Record<string, unknown>>,
    topics: [FRAGMENTS_TOPIC],
  },
  spsa: {
    definition: spsa,
    schema: spsaOptionsSchema as z.ZodType<Record<string, unknown>>,
    topics: [CONTRIBUTIONS_TOPIC],
  },
  pipeline: {
    definition: pipeline,
    schema: pipelineOptionsSchema as z.ZodType<Record<string, unknown>>,
    topics: [STAGES_TOPIC],
  },
}

/** Compute tasks of every strategy, and of peers that lie on purpose. */
export const tasks: readonly ComputeTask<never, unknown>[] = [
  ...Object.values(strategies).flatMap(({ definition }) => [...definition.tasks]),
  ...attacks.attackTasks,
]
