/** How a model is cut into stages: plain data that every peer of a run works out alike, and where each tensor lies then. */
import {
  architectureOf,
  type ModelConfig,
  placeTensors,
  type TensorDefinition,
  tensorsOf,
} from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import type { Layout, TensorSpec } from '../types.ts'

/**
 * A model cut into parts. Part 0, the ends, is what stays with a peer that has data; parts 1 to `stages` are consecutive runs of layers.
 * A peer's 'theta' is the ends and then its places, each as long as the largest stage.
 */
export interface ModelCut {
  readonly stages: number
  /** Elements of each part's parameters, padding included: [ends, stage 1, ..., stage S]. */
  readonly sizes: readonly number[]
  /** Layers of each stage: [0, stage 1, ..., stage S]. */
  readonly layers: readonly number[]
  /** Values per row (a sequence, an image) that leave each part in a forward pass: [embedding, stage 1, ..., stage S]. */
  readonly stream: readonly number[]
  /** Whether all stages have the same tensors and all streams the same shape. */
  readonly alike: boolean
  /** Rows of a microbatch. */
  readonly rows: number
  /** Microbatches of one step. */
  readonly microbatches: number
  /** Stages that one peer has room for. */
  readonly places: number
  /** Gradients that are summed apart, one for each peer with data. */
  readonly accumulators: number
}

/** What a strategy asks for. */
export interface CutOptions {
  /** How many stages, as even as can be with the longer ones first; or the layers of each. */
  stages: number | readonly number[]
  places: number
  microbatches: number
  accumulators: number
}

/**
 * Cuts a model.
 * @param batch rows of a step (training.batch), which the microbatches divide
 * @throws ModelError 'bad-model' naming the key of the run, its value and what is allowed
 */
export function cutModel(model: ModelConfig, options: CutOptions, batch: number): ModelCut {
  const { places, microbatches, accumulators } = options
  const definitions = tensorsOf(model)
  const runs = deal(model, options.stages)
  for (const [key, value] of Object.entries({ places, microbatches, accumulators })) {
    if (!isCount(value)) refuse(key, value, 'a whole number above 0')
  }
  if (batch % microbatches !== 0) refuse('microbatches', microbatches, `a divisor of training.batch (${batch})`)
  const parts = partsOf(definitions, runs)
  const layers = [0, ...runs]
  const streams = layers.map((_, part) => architectureOf(model).stream(model, layersUpTo(layers, part)))
  const shapes = parts.slice(1).map((part) => part.map(({ shape, decay }) => ({ shape, decay })))
  return {
    stages: runs.length,
    sizes: parts.map((part) => placeTensors(part).length),
    layers,
    stream: streams.map((shape) => shape.reduce((product, side) => product * side, 1)),
    alike: allEqual(shapes) && allEqual(streams),
    rows: batch / microbatches,
    microbatches,
    places,
    accumulators,
  }
}

/** Layers [begin, end) of a stage, 1 to S. */
export function layersOf({ layers }: ModelCut, stage: number): { begin: number; end: number } {
  return { begin: layersUpTo(layers, stage - 1), end: layersUpTo(layers, stage) }
}

/** Number of layers in the parts up to one. */
function layersUpTo(layers: readonly number[], part: number): number {
  return layers.slice(0, part + 1).reduce((total, count) => total + count, 0)
}

/** The tensors of each part: [ends, stage 1, ..., stage S]. */
export function stageDefinitions(model: ModelConfig, cut: ModelCut): TensorDefinition[][] {
  return partsOf(tensorsOf(model), cut.layers.slice(1))
}

/** The layout of each part from its own beginning: [ends, stage 1, ..., stage S]. Tensors have the names they have in the whole model. */
export function stageLayouts(model: ModelConfig, cut: ModelCut): Layout[] {
  return stageDefinitions(model, cut).map(placeTensors)
}

/** Where a tensor of the whole model lies in a pipeline. */
export interface PlacedRange {
  name: string
  /** 0 for the ends. */
  part: number
  /** First element in that part. */
  offset: number
  /** First element in the whole model's vector. */
  whole: number
  length: number
}

/** For every tensor of the whole model's layout, in its order, in which part it lies and where. */
export function wholeRanges(model: ModelConfig, cut: ModelCut): PlacedRange[] {
  const places = new Map<string, { part: number; spec: TensorSpec }>()
  for (const [part, { tensors }] of stageLayouts(model, cut).entries()) {
    for (const spec of tensors) places.set(spec.name, { part, spec })
  }
  return placeTensors(tensorsOf(model)).tensors.map(({ name, offset: whole, length }) => {
    const { part, spec } = places.get(name) as { part: number; spec: TensorSpec }
    return { name, part, offset: spec.offset, whole, length }
  })
}

/** theta of the whole model <- its parts, [ends, stage 1, ..., stage S]; each at least as long as `cut.sizes` says. Padding becomes 0. */
export function assembleStages(
  model: ModelConfig,
  cut: ModelCut,
  parts: readonly Float32Array[],
  theta: Float32Array,
): void {
  theta.fill(0)
  for (const { part, offset, whole, length } of wholeRanges(model, cut)) {
    const values = parts[part]
    if (values === undefined || values.length < (cut.sizes[part] as number)) {
      const message = `part ${part} of the model has ${values?.length ?? 0} elements; ${cut.sizes[part]} are needed`
      throw new ModelError('vector-length', message, { part, length: values?.length ?? 0, expected: cut.sizes[part] })
    }
    theta.set(values.subarray(offset, offset + length), whole)
  }
}

/** Layers of each stage. */
function deal(model: ModelConfig, stages: CutOptions['stages']): number[] {
  const { layersKey, layers: count } = architectureOf(model)
  const layers = count(model)
  const reason = `the layers that model.${layersKey} gives to stages`
  if (typeof stages === 'number') {
    if (!isCount(stages) || stages > layers) refuse('stages', stages, `a whole number from 1 to ${layers}, ${reason}`)
    return Array.from({ length: stages }, (_, i) => Math.floor(layers / stages) + (i < layers % stages ? 1 : 0))
  }
  const total = stages.reduce((sum, run) => sum + run, 0)
  if (stages.length === 0 || !stages.every(isCount) || total !== layers) {
    refuse('stages', stages, `a list of whole numbers above 0 that sum up to ${layers}, ${reason}`)
  }
  return [...stages]
}

function partsOf(definitions: readonly TensorDefinition[], runs: readonly number[]): TensorDefinition[][] {
  const stageOfLayer = runs.flatMap((layers, index) => new Array<number>(layers).fill(index + 1))
  const partOf = ({ layer }: TensorDefinition) => (layer === undefined ? 0 : stageOfLayer[layer])
  return [0, ...runs].map((_, part) => definitions.filter((definition) => partOf(definition) === part))
}

const isCount = (value: number) => Number.isSafeInteger(value) && value > 0

const allEqual = (values: readonly unknown[]) => new Set(values.map((value) => JSON.stringify(value))).size <= 1

function refuse(option: string, value: unknown, allowed: string): never {
  const key = `strategy.${option}`
  throw new ModelError('bad-model', `${key} is ${JSON.stringify(value)}; it must be ${allowed}`, {
    key,
    value,
    allowed,
  })
}
