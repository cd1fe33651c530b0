/** What a run says about its model: a preset by name, with changes if wanted, or an architecture with all its numbers. */
import * as z from 'zod'
import type { CnnConfig, DecoderConfig, MlpConfig, ModelConfig } from '../architectures/config.ts'
import type { DataFacts } from '../data/facts.ts'
import { ModelError } from '../errors.ts'
import { alternatives, contentFile, flag, real, show, table, whole } from '../fields.ts'

type DecoderShape = Omit<DecoderConfig, 'vocabulary'>
type ImageShape = Omit<CnnConfig, 'height' | 'width' | 'channels' | 'classes'>
type FlatShape = Omit<MlpConfig, 'height' | 'width' | 'channels' | 'classes'>

/** What a preset fixes. Vocabulary, image size and classes come from the data. */
export type PresetShape = DecoderShape | ImageShape | FlatShape

/**
 * The presets. Sizes in trainable values, with 256 tokens or 28 x 28 images of 10 classes: gpt-nano 0.82 million, gpt-micro 4.9 million,
 * gpt-small 25.6 million, digits-cnn 0.11 million, digits-mlp 0.11 million.
 */
export const presets = {
  'gpt-nano': { architecture: 'decoder', context: 64, layers: 4, width: 128, heads: 4, hidden: 320 },
  'gpt-micro': { architecture: 'decoder', context: 128, layers: 6, width: 256, heads: 4, hidden: 688 },
  'gpt-small': { architecture: 'decoder', context: 256, layers: 8, width: 512, heads: 8, hidden: 1376 },
  'digits-cnn': { architecture: 'cnn', filters: [16, 32], hidden: 64 },
  'digits-mlp': { architecture: 'mlp', hidden: [128, 64] },
} as const satisfies Record<string, PresetShape>

export type PresetName = keyof typeof presets

export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]]

const decoderFields = {
  context: whole(2, 8192),
  layers: whole(1, 256),
  width: whole(16, 16384),
  heads: whole(1, 256),
  keyValueHeads: whole(1, 256).optional(),
  hidden: whole(1, 65536),
  tied: flag().optional(),
  rotaryBase: real(1, 1e9).optional(),
  normEpsilon: real(0, 0.1, { above: true }).optional(),
}

const sizes = (most: number, each: number) =>
  z
    .array(whole(1, each), { error: (issue) => `must be a list of whole numbers, not ${show(issue.input)}` })
    .min(1, { error: () => 'must name at least one size' })
    .max(most, { error: () => `must name at most ${most} sizes` })

const cnnFields = { filters: sizes(6, 4096), hidden: whole(1, 65536) }
const mlpFields = { hidden: sizes(16, 65536) }

/** Parameters to start from instead of the seed: a safetensors file of exactly this model's tensors. */
const start = { weights: contentFile().optional() }

const literal = <const Value extends string>(value: Value) => z.literal(value)

const decoderModel = table({ architecture: literal('decoder'), ...decoderFields, ...start }).superRefine(checkHeads)
const cnnModel = table({ architecture: literal('cnn'), ...cnnFields, ...start })
const mlpModel = table({ architecture: literal('mlp'), ...mlpFields, ...start })

const decoderPreset = table({
  preset: z.enum(['gpt-nano', 'gpt-micro', 'gpt-small']),
  ...z.object(decoderFields).partial().shape,
  ...start,
}).superRefine((model, context) => checkHeads({ ...presets[model.preset], ...defined(model) }, context))
const cnnPreset = table({ preset: literal('digits-cnn'), ...z.object(cnnFields).partial().shape, ...start })
const mlpPreset = table({ preset: literal('digits-mlp'), ...z.object(mlpFields).partial().shape, ...start })

/** The part `model` of a run, e.g. `{preset: 'gpt-nano'}`, `{preset: 'gpt-nano', context: 128}` or `{architecture: 'mlp', hidden: [64]}`. */
export type ModelSpec =
  | z.infer<typeof decoderPreset>
  | z.infer<typeof cnnPreset>
  | z.infer<typeof mlpPreset>
  | z.infer<typeof decoderModel>
  | z.infer<typeof cnnModel>
  | z.infer<typeof mlpModel>

const byArchitecture = { decoder: decoderModel, cnn: cnnModel, mlp: mlpModel }
const byPreset = {
  'gpt-nano': decoderPreset,
  'gpt-micro': decoderPreset,
  'gpt-small': decoderPreset,
  'digits-cnn': cnnPreset,
  'digits-mlp': mlpPreset,
}

/**
 * Schema of {@link ModelSpec}. The variant is picked by `preset` or `architecture` before anything else is looked at, so that an error
 * speaks of the variant that was meant.
 */
export const modelSchema: z.ZodType<ModelSpec> = z.unknown().transform((value, context): ModelSpec => {
  const fail = (message: string, path: string[] = []): never => {
    context.addIssue({ code: 'custom', message, path, input: value })
    return z.NEVER
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(`must be a table with preset (${alternatives(presetNames)}) or architecture, not ${show(value)}`)
  }
  const given = value as { preset?: unknown; architecture?: unknown }
  if (given.preset !== undefined && given.architecture !== undefined) {
    return fail('has both preset and architecture; use one of them')
  }
  const [key, variants] =
    given.architecture === undefined ? (['preset', byPreset] as const) : (['architecture', byArchitecture] as const)
  const names = Object.keys(variants)
  const name = given[key]
  if (name === undefined) return fail(`needs preset (${alternatives(names)}) or architecture`)
  if (typeof name !== 'string' || !names.includes(name)) {
    return fail(`must be ${alternatives(names)}, not ${show(name)}`, [key])
  }
  const schema = (variants as Record<string, z.ZodType<ModelSpec>>)[name]!
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) {
    context.addIssue({ code: 'custom', message: issue.message, path: issue.path, input: value })
  }
  return z.NEVER
})

/**
 * The full description of a model for these data. Pure: every peer gets the same from the same run.
 * @throws ModelError 'model-data-mismatch' when a text model is asked to read images or the reverse, or images are too small for a CNN.
 */
export function resolveModel(model: ModelSpec, facts: DataFacts): ModelConfig {
  const name = 'preset' in model ? model.preset : model.architecture
  const shape = shapeOf(model)
  if (shape.architecture === 'decoder') {
    if (facts.kind !== 'text') throw mismatch(name, 'reads text', 'images')
    return { ...shape, vocabulary: facts.vocabulary }
  }
  if (facts.kind !== 'image') throw mismatch(name, 'reads images', 'text')
  const { height, width, channels, classes } = facts
  if (shape.architecture === 'mlp') return { ...shape, hidden: [...shape.hidden], height, width, channels, classes }
  const least = 2 ** shape.filters.length
  if (Math.min(height, width) < least) {
    throw new ModelError(
      'model-data-mismatch',
      `a CNN with ${shape.filters.length} poolings needs images of at least ${least} x ${least}; these are ${height} x ${width}`,
      { model: name, height, width },
    )
  }
  return { ...shape, filters: [...shape.filters], height, width, channels, classes }
}

function shapeOf(model: ModelSpec): PresetShape {
  const { weights: _, ...said } = model
  if (!('preset' in said)) return defined(said) as PresetShape
  const { preset, ...changes } = said
  return { ...presets[preset], ...defined(changes) } as PresetShape
}

function mismatch(model: string, reads: string, given: string): ModelError {
  return new ModelError('model-data-mismatch', `model ${model} ${reads}, but the data are ${given}`, { model, given })
}

function checkHeads(
  model: { width: number; heads: number; keyValueHeads?: number | undefined },
  context: z.core.$RefinementCtx,
): void {
  const { width, heads, keyValueHeads = heads } = model
  // Sixteen float32 are the 64 bytes on which every row of a matrix starts (architectures/decoder.ts).
  for (const [factor, why] of [
    [2 * heads, '2 x heads = '],
    [16, ''],
  ] as const) {
    if (width % factor === 0) continue
    const message = `must be a multiple of ${why}${factor}, not ${width}`
    context.addIssue({ code: 'custom', message, path: ['width'], input: width })
    break
  }
  if (heads % keyValueHeads !== 0) {
    const message = `must divide heads = ${heads}, which ${keyValueHeads} does not`
    context.addIssue({ code: 'custom', message, path: ['keyValueHeads'], input: keyValueHeads })
  }
}

/** The same object without the keys whose value is undefined. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
