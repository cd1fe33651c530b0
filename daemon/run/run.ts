import { stringify } from 'yaml'
import {
  cutModel,
  type DataFacts,
  type DataFile,
  type DataInput,
  type DataSpec,
  dataFacts,
  dataSchema,
  type Layout,
  layoutOf,
  type ModelConfig,
  ModelError,
  type ModelSpec,
  modelSchema,
  type ResolvedTraining,
  resolveModel,
  resolveTraining,
  type TrainingSpec,
  trainingSchema,
} from '../../models/index.ts'
import {
  createManifestSchema,
  decodeManifest,
  manifestBytes,
  parseManifest,
  type RunManifest,
  runId,
  type StageCut,
  StarlingError,
} from '../../protocols/index.ts'
import { type StrategyEntry, strategies } from './strategies.ts'

/** A run's manifest with all its sections known. */
export type StarlingManifest = RunManifest<ModelSpec, DataSpec, TrainingSpec, Record<string, unknown>>

/** Schema of `run.yaml`, composed from what models and strategies know of their own sections. */
export const manifestSchema = createManifestSchema<ModelSpec, DataSpec, TrainingSpec, Record<string, unknown>>({
  model: modelSchema,
  data: dataSchema as never,
  training: trainingSchema,
  strategies: Object.fromEntries(Object.entries(strategies).map(([name, { schema }]) => [name, schema])),
})

/** A run with everything derived from its manifest; the same at every peer. */
export interface Run {
  /** CID text of the manifest: the run's name. */
  id: string
  /** Canonical bytes of the manifest. */
  bytes: Uint8Array
  manifest: StarlingManifest
  facts: DataFacts
  model: ModelConfig
  training: ResolvedTraining
  layout: Layout
  strategy: StrategyEntry
  /** The parts of the model, where the strategy's peers hold parts. */
  cut?: StageCut
}

/** The run of some manifest bytes. Throws StarlingError 'bad-manifest' for bytes that are none, or whose sections do not fit together. */
export function openRun(bytes: Uint8Array): Run {
  return resolveRun(decodeManifest(bytes, manifestSchema), bytes)
}

/** The run of a `run.yaml`. Throws StarlingError 'bad-manifest' with the file, line and key. */
export function parseRun(text: string, fileName = 'run.yaml'): Run {
  const manifest = parseManifest(text, manifestSchema, fileName)
  return resolveRun(manifest, manifestBytes(manifest))
}

/** The manifest's sections as a `run.yaml`. */
export function formatRun(run: Run): string {
  return stringify(run.manifest)
}

function resolveRun(manifest: StarlingManifest, bytes: Uint8Array): Run {
  const strategy = strategies[manifest.strategy.name]
  if (strategy === undefined)
    throw new StarlingError('bad-manifest', `strategy.name: ${manifest.strategy.name} is not known`, {})
  try {
    const facts = dataFacts(manifest.data)
    const model = resolveModel(manifest.model, facts)
    const training = resolveTraining(manifest.training, model)
    const cut = cutOf(strategy, manifest, model, training)
    const run = { id: runId(bytes), bytes, manifest, facts, model, training, layout: layoutOf(model), strategy }
    return cut === undefined ? run : { ...run, cut }
  } catch (error) {
    if (error instanceof ModelError)
      throw new StarlingError('bad-manifest', `the manifest is not valid: ${error.message}`, error.data, {
        cause: error,
      })
    throw error
  }
}

/** The parts of the model. Throws ModelError 'bad-model' when it cannot be cut as the strategy asks, and StarlingError 'bad-manifest' when it could not be trained then. */
function cutOf(
  { definition }: StrategyEntry,
  manifest: StarlingManifest,
  model: ModelConfig,
  training: ResolvedTraining,
): StageCut | undefined {
  const { name: _, ...options } = manifest.strategy
  const wanted = definition.stages?.(options)
  if (wanted === undefined) return undefined
  const cut = cutModel(model, wanted, training.batch)
  const misfit = definition.misfit?.(options, cut)
  if (misfit !== undefined) throw new StarlingError('bad-manifest', `the manifest is not valid: ${misfit}`, {})
  return cut
}

/** What `starling swarm` and `starling init` know of a run to be. */
export interface RunOptions {
  name?: string
  seed?: number
  model?: ModelSpec
  /** Parameters to start from. */
  weights?: DataFile
  data?: DataInput
  training?: TrainingSpec
  strategy?: { name: string } & Record<string, unknown>
  admission?: RunManifest['admission']
}

/** Preset for data of a kind when nobody chose a model. */
const DEFAULT_MODEL = { text: 'gpt-nano', image: 'digits-cnn' } as const

/** Makes a run from options; what is left out gets its default. Throws StarlingError 'bad-manifest'. */
export function buildRun(options: RunOptions): Run {
  const data = options.data ?? { source: 'stories' as const }
  const kind = data.source === 'stories' || data.source === 'text' ? 'text' : 'image'
  const value = {
    name: options.name ?? `${data.source}-run`,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    model: {
      ...(options.model ?? { preset: DEFAULT_MODEL[kind] }),
      ...(options.weights === undefined ? {} : { weights: options.weights }),
    },
    data,
    training: options.training ?? {},
    strategy: options.strategy ?? { name: 'noloco' },
    ...(options.admission === undefined ? {} : { admission: options.admission }),
  }
  // The same way as a file, so that the same things are refused in the same words.
  return parseRun(stringify(value), 'options')
}
