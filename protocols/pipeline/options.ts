/** The part `strategy` of a run with `name: pipeline`. */
import { z } from 'zod'
import { stabilityFault } from '../noloco/index.ts'
import { normKinds, recoveryRules } from './recovery.ts'
import { keepFault } from './skip/index.ts'

/** How a microbatch finds its way through the stages; see protocols/pipeline/paths. */
export const ROUTINGS = ['sequential', 'random', 'twins', 'skip'] as const

/** Codes in which activations and their gradients may travel. */
export const STREAM_CODECS = ['float32', 'float16', 'int8'] as const

/** Most stages; a path with all of them must fit one question beside its tensor. */
export const MAX_STAGES = 64

/** Most microbatches of one step of one data peer. */
export const MAX_MICROBATCHES = 256

/** Most stages that one peer holds. */
export const MAX_PLACES = 16

/** Most data peers: each has gradients of its own at every holder. */
export const MAX_DATA_PEERS = 4

/** Least stages of which the first two and the last two can be swapped (CheckFree+). */
const TWIN_STAGES = 4

/** NoLoCo's outer step between the holders of one stage; arXiv 2506.10911, with its defaults. */
const outerSchema = z
  .strictObject({
    /** Steps of a stage between two exchanges of its holders. */
    innerSteps: z.number().int().min(1).max(100_000).default(50),
    alpha: z.number().default(0.5),
    beta: z.number().default(0.7),
  })
  .superRefine((options, context) => {
    const fault = stabilityFault({ ...options, gamma: options.beta })
    if (fault !== undefined) {
      const key = fault.key === 'gamma' ? 'beta' : fault.key
      context.addIssue({ code: 'custom', path: [key], message: fault.message, input: options[key] })
    }
  })

const skipSchema = z.strictObject({
  /** Stages that a microbatch goes through. Default: two thirds of them, rounded, but at least two. */
  keep: z.number().int().min(1).max(MAX_STAGES).optional(),
  /** Every so many steps all microbatches go through all stages; 0 for never. */
  fullEvery: z.number().int().min(0).max(100_000).default(10),
})

/** What `stages` may be. */
const STAGES = `must be a number of stages from 1 to ${MAX_STAGES}, or a list of the layers of each`

export const pipelineOptionsSchema = z
  .strictObject({
    /** How many stages, as equal as they can be; or how many layers each has. */
    stages: z
      .union(
        [
          z.number().int(STAGES).min(1, STAGES).max(MAX_STAGES, STAGES),
          z.array(z.number().int(STAGES).min(1, STAGES).max(1024, STAGES)).min(1, STAGES).max(MAX_STAGES, STAGES),
        ],
        { error: STAGES },
      )
      .default(2),
    /** Microbatches of one step of one data peer; must divide the batch. */
    microbatches: z.number().int().min(1).max(MAX_MICROBATCHES).default(4),
    /** Stages that one peer has room for. */
    places: z.number().int().min(1).max(MAX_PLACES).default(2),
    /** Peers that have the data, the embedding and the output matrix, and drive steps. */
    dataPeers: z.number().int().min(1).max(MAX_DATA_PEERS).default(1),
    /** How activations and their gradients travel. */
    codec: z.enum(STREAM_CODECS).default('float16'),
    routing: z.enum(ROUTINGS).default('sequential'),
    /** How a stage without a living holder is rebuilt; see docs/pipeline.md. */
    recovery: z.enum(recoveryRules).default('checkfree'),
    /** Factor of the learning rate of a stage that was rebuilt from others, from then on. It does not add up over recoveries. */
    rateAfterRecovery: z.number().min(0.1).max(10).default(1.1),
    /** Which norm of a stage's gradient weighs it in a recovery. */
    norms: z.enum(normKinds).default('before-clip'),
    /** Holders wanted for each stage, where there are enough peers. */
    replicas: z.number().int().min(1).max(64).default(1),
    /** Microbatches that a stage keeps between their forward and backward passes. Memory, and what keeps the stages busy. */
    inFlight: z.number().int().min(1).max(64).default(4),
    /** For `routing: skip`. */
    skip: skipSchema.prefault({}),
    /** Steps between two checkpoints of every stage, for `recovery: checkpoint`. */
    checkpointEvery: z.number().int().min(1).max(1_000_000).default(50),
    /** How the holders of one stage stay alike. */
    outer: outerSchema.prefault({}),
  })
  .superRefine((options, context) => {
    const { stages, routing, recovery, microbatches, skip } = options
    const count = typeof stages === 'number' ? stages : stages.length
    const refuse = (path: string[], message: string, input: unknown): void => {
      context.addIssue({ code: 'custom', path, message, input })
    }
    const uneven = typeof stages !== 'number' && new Set(stages).size > 1
    const borrows = recovery !== 'random' && recovery !== 'checkpoint'
    if (uneven && (routing === 'twins' || routing === 'skip')) {
      refuse(['stages'], `must all have as many layers with routing: ${routing}`, stages)
    } else if (uneven && borrows && count > 1) {
      const what = `must all have as many layers with recovery: ${recovery}; "random" and "checkpoint" take any stages`
      refuse(['stages'], what, stages)
    }
    if (routing === 'twins' && count < TWIN_STAGES) {
      refuse(['stages'], `must be ${TWIN_STAGES} or more with routing: twins, not ${count}`, stages)
    }
    if (routing === 'twins' && microbatches % 2 !== 0) {
      refuse(['microbatches'], `must be even with routing: twins, not ${microbatches}`, microbatches)
    }
    // Also where no path is planned: a number that no run could use is a mistake.
    const fault = routing === 'skip' || skip.keep !== undefined ? keepFault(count, keptStages(options)) : undefined
    if (fault !== undefined) {
      refuse(['skip', 'keep'], fault, skip.keep)
    }
  })

/** Checked options of the strategy. */
export type PipelineOptions = z.output<typeof pipelineOptionsSchema>

/** Number of stages. */
export const stageCount = ({ stages }: Pick<PipelineOptions, 'stages'>): number =>
  typeof stages === 'number' ? stages : stages.length

/** Stages that a microbatch goes through under `routing: skip`. */
export const keptStages = (options: Pick<PipelineOptions, 'stages' | 'skip'>): number =>
  options.skip.keep ?? Math.max(Math.min(2, stageCount(options)), Math.round((2 * stageCount(options)) / 3))

/**
 * Microbatches that one data peer has under way at most, so that no stage is ever asked to keep more than {@link slotsOf}, whatever order the paths
 * take: nothing has to wait for memory that something else waiting holds.
 */
export const quotaOf = ({ inFlight, dataPeers }: Pick<PipelineOptions, 'inFlight' | 'dataPeers'>): number =>
  Math.max(1, Math.floor(inFlight / dataPeers))

/** Microbatches that a stage keeps at most, those of all data peers together. */
export const slotsOf = (options: Pick<PipelineOptions, 'inFlight' | 'dataPeers'>): number =>
  quotaOf(options) * options.dataPeers
