/** What `starling bench engine` measures: training steps of the text presets, one optimizer pass, one matrix product. */
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { type DecoderConfig, initialize, layoutOf } from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import { primitivesOf } from '../ops/index.ts'
import type { TrainingConfig } from '../optimizers/index.ts'
import { presets } from '../presets/index.ts'
import { createGenerator } from '../random.ts'
import { trainerVectors } from '../trainer/index.ts'
import { LocalTrainer } from '../trainer/trainer.ts'
import type { Batch, Dataset, Engine } from '../types.ts'
import { timed } from './timed.ts'

/** Text presets that are measured. */
export const benchPresets = ['gpt-nano', 'gpt-micro'] as const

export interface BenchEngineOptions {
  /** Default: all of {@link benchPresets}. */
  presets?: readonly (typeof benchPresets)[number][]
  /** Steps and forward passes measured of each. Default 30. */
  steps?: number
  rows?: number
  context?: number
  /** Called when a part begins, with its name. */
  onPart?: (part: string) => void
}

export interface ModelBench {
  preset: string
  parameters: number
  rows: number
  context: number
  /** Medians. */
  stepMilliseconds: number
  forwardMilliseconds: number
  tokensPerSecond: number
  /** Tensor operations per step. */
  operations: number
  /** Share of the step's time that is not spent in matrix products, 0 to 1. */
  outsideProducts: number
  /** Milliseconds per step by kind of operation, largest first; 'other' is what no operation accounts for (optimizer, norms, JavaScript). */
  milliseconds: Record<string, number>
}

export interface BenchEngineReport {
  engine: Engine['name']
  why: string
  models: ModelBench[]
  /** One fused pass on one core. */
  adamw: { parameters: number; parametersPerSecond: number }
  product: { size: number; gflops: number }
}

/** Measures an engine. Takes from ten seconds (native) to minutes (plain JavaScript). */
export function benchEngine(engine: Engine, options: BenchEngineOptions = {}): BenchEngineReport {
  const { presets: names = benchPresets, steps = 30, rows = 16, context = 64, onPart } = options
  const models = names.map((name) => {
    onPart?.(name)
    return benchModel(engine, name, { rows, context, steps })
  })
  onPart?.('adamw')
  const adamw = benchAdamW()
  onPart?.('product')
  return { engine: engine.name, why: engine.why, models, adamw, product: benchProduct(engine) }
}

const VOCABULARY = 256

/** Share of the first measurements that is thrown away: threads start and code is compiled. */
const WARM_UP = 0.25

function benchModel(
  engine: Engine,
  preset: (typeof benchPresets)[number],
  { rows, context, steps }: { rows: number; context: number; steps: number },
): ModelBench {
  const model: DecoderConfig = { ...presets[preset], vocabulary: VOCABULARY, context }
  const training: TrainingConfig = {
    batch: rows,
    microbatch: rows,
    steps: 1000,
    optimizer: { name: 'adamw', learningRate: 1e-3 },
  }
  const vectors = SharedVectors.create(trainerVectors(model, training))
  const layout = layoutOf(model)
  initialize(layout, model, 1, vectors.float32('theta'))
  const { math, milliseconds } = timed(primitivesOf(engine))
  const trainerOptions = {
    engine,
    kernels: loadKernels(vectors),
    vectors,
    model,
    training,
    dataset: randomText(context),
  }
  const trainer = new LocalTrainer(trainerOptions, math)
  try {
    const forwardMilliseconds = median(measure(steps, () => trainer.lossAt('theta', 0)))
    for (let i = 0; i < Math.ceil(steps * WARM_UP); i++) trainer.step()
    milliseconds.clear()
    const before = math.operations
    const times = measure(steps, () => trainer.step(), 0)
    const stepMilliseconds = median(times)
    const perStep = (total: number) => total / steps
    const mean = perStep(times.reduce((total, time) => total + time, 0))
    const parts = [...milliseconds].map(([name, total]) => [name, perStep(total)] as const)
    const accounted = parts.reduce((total, [, time]) => total + time, 0)
    const all = [...parts, ['other', mean - accounted] as const].sort((a, b) => b[1] - a[1])
    return {
      preset,
      parameters: layout.parameters,
      rows,
      context,
      stepMilliseconds,
      forwardMilliseconds,
      tokensPerSecond: (rows * context * 1000) / stepMilliseconds,
      operations: Math.round(perStep(math.operations - before)),
      outsideProducts: 1 - perStep(milliseconds.get('matMul') ?? 0) / mean,
      milliseconds: Object.fromEntries(all),
    }
  } finally {
    trainer.dispose()
  }
}

/** Two million parameters: 32 MB of vectors, more than a cache, as in a model that is worth the trouble. */
const ADAMW_PARAMETERS = 2_000_000

function benchAdamW(): BenchEngineReport['adamw'] {
  const names = ['theta', 'gradient', 'm', 'v'] as const
  const vector = { type: 'float32' as const, length: ADAMW_PARAMETERS }
  const vectors = SharedVectors.create(Object.fromEntries(names.map((name) => [name, vector])))
  const kernels = loadKernels(vectors)
  const [theta, gradient, m, v] = names.map((name) => vectors.float32(name)) as Float32Array[] & { length: 4 }
  if (theta === undefined || gradient === undefined || m === undefined || v === undefined) {
    throw new ModelError('bench-vectors', 'a vector of the benchmark is missing')
  }
  gradient.fill(1e-3)
  let step = 0
  const times = measure(40, () => {
    kernels.adamw(theta, gradient, m, v, {
      learningRate: 1e-3,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      weightDecay: 0.1,
      step: ++step,
      gradientScale: 1,
    })
  })
  return { parameters: ADAMW_PARAMETERS, parametersPerSecond: ADAMW_PARAMETERS / (median(times) / 1000) }
}

function benchProduct(engine: Engine): BenchEngineReport['product'] {
  // Plain JavaScript needs seconds for 1024.
  const size = engine.name === 'js' ? 256 : 1024
  const math = primitivesOf(engine)
  const generator = createGenerator(1, 'product')
  const values = Float32Array.from({ length: size * size }, () => generator.uniform())
  const matrix = math.float(values, [size, size])
  const times = measure(10, () => {
    const product = math.matMul(matrix, matrix)
    // Reading one element waits for the result on every engine.
    const corner = math.rows(product, 0, 1)
    math.read(corner)
    corner.dispose()
    product.dispose()
  })
  matrix.dispose()
  math.dispose()
  // One multiplication and one addition for each of the size³ terms.
  return { size, gflops: (2 * size ** 3) / (median(times) * 1e-3) / 1e9 }
}

/** Random bytes: the time of a step does not depend on what they say. */
function randomText(context: number): Dataset {
  const batch = (number: number, rows: number): Batch => {
    const generator = createGenerator(number, 'bench')
    const ids = Int32Array.from({ length: rows * context + 1 }, () => generator.bits() % VOCABULARY)
    return { kind: 'text', rows, context, inputs: ids.slice(0, -1), targets: ids.slice(1) }
  }
  return { kind: 'text', classes: VOCABULARY, batch, validation: (rows) => [batch(-1, rows)] }
}

/** Milliseconds of each of `count` calls, after a warm-up that is not counted. */
function measure(count: number, run: () => unknown, warmUp = Math.ceil(count * WARM_UP)): number[] {
  for (let i = 0; i < warmUp; i++) run()
  return Array.from({ length: count }, () => {
    const begin = performance.now()
    run()
    return performance.now() - begin
  })
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2
}
