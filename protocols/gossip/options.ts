/** The part `strategy` of a run with `name: gossip`. */
import { z } from 'zod'
import { CODEC_NAMES, type CodecName } from '../codecs/index.ts'
import { type Sending, sendingFault } from '../feedback/index.ts'

/** How a group of fragments is mixed; see protocols/mixing. */
export const RULES = ['nearest', 'clipped', 'mean'] as const

/** Share of the peers that is taken for hostile by default, and at most: half of them cannot be told from the other half. */
const FAULTY_SHARE = 1 / 3
const MAX_FAULTY = 0.49

/** Most fragments a model is cut into; larger ones are then announced and pulled instead of gossiped. */
export const MAX_FRAGMENTS = 4_096

/** All memories there are: those that do not fit are refused with their own sentence. */
const MEMORIES = ['none', 'replicas', 'decay', 'ef21', 'econtrol'] as const satisfies readonly Sending['memory'][]

/**
 * Step towards the neighbours' replicas, by code: the default, and the most that is taken. With up to `most`, 12 peers on a ring, 12 with four neighbours each and 5 that all know
 * each other come together in 2,000 rounds; top-k stalls or diverges beyond (docs/gossip.md).
 */
export const STEPS: Readonly<Record<CodecName, { usual: number; most: number }>> = {
  float32: { usual: 0.5, most: 1 },
  float16: { usual: 0.5, most: 1 },
  int8: { usual: 0.5, most: 1 },
  'int8-stochastic': { usual: 0.5, most: 1 },
  int4: { usual: 0.5, most: 1 },
  sign: { usual: 0.3, most: 1 },
  topk: { usual: 0.03, most: 0.05 },
}

/** Neighbours whose replicas a peer keeps by default. */
const NEIGHBOURS = 4

export const gossipOptionsSchema = z
  .strictObject({
    /**
     * Fragments that the model is cut into. Default: the smallest power of two, from 4 on (with replicas from 1 on), with which an encoded fragment fits
     * into one message.
     */
    fragments: z.number().int().min(1).max(MAX_FRAGMENTS).optional(),
    /** Local optimizer steps from one published fragment to the next. */
    interval: z.number().int().min(1).max(100_000).default(5),
    codec: z.enum(CODEC_NAMES).default('int8'),
    /**
     * none: fragments of the model are published to all. replicas: differences to a public replica are sent to a few neighbours, who keep a copy of it; the default
     * of the codes that are too coarse for models.
     */
    memory: z.enum(MEMORIES).optional(),
    /** Peers whose replicas are kept, each as long as the model. Only with replicas. */
    neighbours: z.number().int().min(2).max(16).multipleOf(2).optional(),
    /** Share of the pull towards the replicas that is taken at once. Only with replicas; by default what suits the code. */
    gamma: z.number().positive().optional(),
    /** nearest: leaves out the farthest. clipped: leaves nobody out, but nobody pulls harder than the others. mean: trusts everybody. */
    rule: z.enum(RULES).default('nearest'),
    /** Share of the peers, this one included, that nearest and clipped take for hostile; see faultyOf in turns.ts. */
    faulty: z.number().min(0).max(MAX_FAULTY).default(FAULTY_SHARE),
    /**
     * Whether models of another scale or far away are refused whatever the rule says, and vanished variance is put back. Unsafe without: one broken peer is
     * then in every model of the swarm. For experiments that need the plain mean to compare with.
     */
    guards: z.boolean().default(true),
    /** Turns a peer may be behind at its start, or after its machine slept, before it fetches a replica instead of going on with its own. */
    catchUpTurns: z.number().int().min(1).max(1_000_000).default(20),
  })
  .superRefine((options, context) => {
    const { codec, gamma } = options
    const refuse = (key: 'codec' | 'memory' | 'gamma' | 'neighbours', message: string): void =>
      context.addIssue({ code: 'custom', path: [key], message, input: options[key] })
    const fault = sendingFault('pair-gossip', { codec, memory: memoryOf(options) })
    if (fault !== undefined) {
      refuse('memory', fault)
    } else if (memoryOf(options) === 'none') {
      for (const key of ['gamma', 'neighbours'] as const) {
        if (options[key] !== undefined) {
          refuse(key, `belongs to "memory": "replicas", the default of "topk", "int4" and "sign"; the memory is none`)
        }
      }
    } else if (gamma !== undefined && gamma > STEPS[codec].most) {
      refuse('gamma', `must be at most ${STEPS[codec].most} with ${codec}, or replicas drift apart; it is ${gamma}`)
    }
  })

/** Checked options of the strategy. */
export type GossipOptions = z.output<typeof gossipOptionsSchema>

/** What is remembered of what the code drops. */
export function memoryOf({
  codec,
  memory,
}: Pick<GossipOptions, 'codec'> & { memory?: Sending['memory'] | undefined }): Sending['memory'] {
  const coarse = sendingFault('pair-gossip', { codec, memory: 'none' }) !== undefined
  return memory ?? (coarse ? 'replicas' : 'none')
}

/** Constants of the gossip through replicas, defaults filled in. */
export function replicaConstants({ codec, gamma, neighbours }: GossipOptions): { gamma: number; neighbours: number } {
  return { gamma: gamma ?? STEPS[codec].usual, neighbours: neighbours ?? NEIGHBOURS }
}
