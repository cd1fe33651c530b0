/** The part `strategy` of a run with `name: spsa`. */
import { z } from 'zod'

/** How the directions are drawn; see kernels/types.ts. */
export const DIRECTIONS = ['sign', 'gaussian'] as const

/** By what a round of n contributions is divided: nothing, the root of n, n. */
export const SCALINGS = ['sum', 'sqrt', 'mean'] as const

/** Options of the local training of `seeded`, and their defaults. */
const SEEDED = { innerSteps: 10, coordinates: 64, blocks: 1 } as const

/**
 * Defaults that depend on the variant, both measured (docs/spsa.md): a projected gradient is 0.02 to 20 and a coordinate of a drift 1e-4 to 0.2, whatever
 * the model. A finer quantum makes larger sums, which then leave 32 bits sooner.
 */
const LEARNING_RATE = { spsa: 5e-4, seeded: 1e-2 } as const
const DEFAULT_QUANTUM = { spsa: 2 ** -10, seeded: 2 ** -14 } as const
/** 2^14 quanta, above what was measured: what is larger is a fault or a lie, and would bring the sums to the end of their 32 bits soon. */
const DEFAULT_CLIP = { spsa: 16, seeded: 1 } as const

/** Least and largest quantum: the byte then spans 2^-24 to 3.8e6, more than any loss in single precision can give. */
const QUANTUM = { least: 2 ** -24, most: 2 ** 4 } as const

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value))

/**
 * Options of the strategy. Everything that the state depends on (variant, directions, scaling, learningRate, quantum, warmup, finalRate, clip, blocks)
 * is part of the run's name like any other key of the manifest, so peers of one run cannot differ in it.
 *
 * `learningRate` is that of this strategy; `training.learningRate`, `warmup` and the optimizer are those of the local steps of `seeded`.
 */
export const spsaOptionsSchema = z
  .strictObject({
    /** spsa: a byte is a two-point estimate of a directional derivative. seeded: a coordinate of the drift of some local optimizer steps. */
    variant: z.enum(['spsa', 'seeded']).default('spsa'),
    directions: z.enum(DIRECTIONS).default('sign'),
    scaling: z.enum(SCALINGS).default('sum'),
    /** Step along a direction per unit of projected gradient (spsa), or share of the rebuilt drift that is taken (seeded). Default 5e-4 or 1e-2. */
    learningRate: z.number().positive().max(10).optional(),
    /** Length of the step to both sides of the two-point estimate, per parameter. */
    epsilon: z.number().min(1e-8).max(1).default(1e-3),
    /** Value of the smallest step of the byte, a power of two. Default 2^-10, or 2^-14 with `seeded`. */
    quantum: z
      .number()
      .min(QUANTUM.least)
      .max(QUANTUM.most)
      .refine(isPowerOfTwo, {
        error: (issue) => `must be a power of two like 0.0009765625 (2^-10), not ${issue.input}`,
      })
      .optional(),
    /** What is sent counts as no larger than this, in either direction: a bound of what one byte can do. At least one quantum. Default 16, or 1 with `seeded`. */
    clip: z.number().positive().max(1e9).optional(),
    /** Steps over which the rate rises to its full value. */
    warmup: z.number().int().min(0).max(1_000_000).default(0),
    /** Share of the rate that is left at the last step; it falls linearly. */
    finalRate: z.number().min(0.001).max(1).default(0.1),
    /** Contributions that travel under one signature. */
    batch: z.number().int().min(1).max(1_024).default(16),
    /** Authors of one run at most; more are refused. */
    maxAuthors: z.number().int().min(1).max(1_024).default(1_024),
    /** Contributions that one author may send per second. */
    maxRate: z.number().min(0.1).max(100_000).default(64),
    /** Seconds between two questions to a random member whether it holds the same set. */
    syncEvery: z.number().min(0.1).max(3_600).default(2),
    /**
     * Longest wait at the end without news from members that have not finished or hold another set, seconds. Several times what a question may take that
     * gets no answer.
     */
    settle: z.number().min(0).max(3_600).default(60),
    /** seeded: local optimizer steps between two contributions. */
    innerSteps: z.number().int().min(1).max(100_000).optional(),
    /** seeded: coordinates of the drift that are sent, a byte each. With what waits for its batch they fit one message. */
    coordinates: z.number().int().min(1).max(2_048).optional(),
    /** seeded: equal parts of the parameters that have coordinates of their own. */
    blocks: z.number().int().min(1).max(4_096).optional(),
  })
  .superRefine((options, context) => {
    const quantum = options.quantum ?? DEFAULT_QUANTUM[options.variant]
    const clip = options.clip ?? DEFAULT_CLIP[options.variant]
    if (clip < quantum) {
      const message = `must be at least the quantum ${quantum}, or every byte counts as 0; it is ${clip}`
      context.addIssue({ code: 'custom', path: ['clip'], message, input: clip })
    }
    if (options.variant === 'spsa') {
      for (const key of Object.keys(SEEDED) as (keyof typeof SEEDED)[]) {
        if (options[key] !== undefined) {
          const message = 'is an option of variant seeded; with variant spsa it is not allowed'
          context.addIssue({ code: 'custom', path: [key], message, input: options[key] })
        }
      }
      return
    }
    const { coordinates = SEEDED.coordinates, blocks = SEEDED.blocks } = options
    if (coordinates % blocks !== 0) {
      const message = `must be a multiple of blocks (${blocks}), so that all blocks get as many, not ${coordinates}`
      context.addIssue({ code: 'custom', path: ['coordinates'], message, input: coordinates })
    }
  })
  .transform(({ learningRate, quantum, clip, innerSteps, coordinates, blocks, ...options }) => ({
    ...options,
    learningRate: learningRate ?? LEARNING_RATE[options.variant],
    quantum: quantum ?? DEFAULT_QUANTUM[options.variant],
    clip: clip ?? DEFAULT_CLIP[options.variant],
    ...(options.variant === 'spsa'
      ? {}
      : {
          innerSteps: innerSteps ?? SEEDED.innerSteps,
          coordinates: coordinates ?? SEEDED.coordinates,
          blocks: blocks ?? SEEDED.blocks,
        }),
  }))

/** Checked options of the strategy. The last three are there with variant `seeded` only. */
export type SpsaOptions = z.output<typeof spsaOptionsSchema>
