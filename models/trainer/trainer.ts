import { forwardModel, layoutOf, tensorsOf } from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import { generateText } from '../generate/index.ts'
import { FlatGradient, Graph, Parameters, type Primitives, primitivesOf, withoutLeak } from '../ops/index.ts'
import { clipping, notFinite } from '../optimizers/clip.ts'
import { createOptimizer, decayRanges, learningRateAt, type Optimizer } from '../optimizers/index.ts'
import { createGenerator } from '../random.ts'
import type { Batch, EvaluationReport, GenerateOptions, Layout, StepReport } from '../types.ts'
import { backwardLoss, lossOf, type Outcome } from './loss.ts'
import { defaultMicrobatch, sampleCount, splitBatch, validationParts } from './microbatch.ts'
import type { NamedVectors, Trainer, TrainerOptions } from './types.ts'

/** Local training; see {@link Trainer}. */
export class LocalTrainer implements Trainer {
  readonly layout: Layout
  stepNumber = 0
  private readonly options: TrainerOptions
  private readonly math: Primitives
  /** Undefined in a trainer that only evaluates. */
  private readonly learning: { optimizer: Optimizer; gradients: FlatGradient } | undefined
  private readonly vectors: NamedVectors
  private readonly microbatch: number
  /** One set of tensors per vector that was ever asked for: 'theta' and the few candidates of a strategy. */
  private readonly parameters = new Map<string, Parameters>()

  /** @param math the engine's primitives, or a wrapping of them that measures */
  constructor(options: TrainerOptions, math: Primitives = primitivesOf(options.engine)) {
    const { kernels, model, training, vectors } = options
    this.options = options
    this.layout = layoutOf(model)
    this.vectors = vectors
    this.vector('theta')
    this.math = math
    this.microbatch = training.microbatch ?? Math.min(training.batch, defaultMicrobatch(options.dataset))
    if (options.trains === false) return
    this.learning = {
      gradients: new FlatGradient(this.math, this.layout, this.vector('gradient')),
      optimizer: createOptimizer(
        training.optimizer,
        kernels,
        (name) => this.vector(name),
        decayRanges(this.layout, tensorsOf(model)),
      ),
    }
  }

  step(): StepReport {
    const begin = performance.now()
    const { optimizer } = this.learner
    const { training, kernels } = this.options
    const loss = this.gradient(this.stepNumber)
    const { gradientNorm, gradientScale } = clipping(kernels, this.layout, this.vectors.float32('gradient'), {
      clip: training.clip,
      step: this.stepNumber + 1,
    })
    const learningRate = learningRateAt(training, this.stepNumber)
    this.stepNumber++
    optimizer.apply(this.stepNumber, learningRate, gradientScale)
    return {
      step: this.stepNumber,
      loss,
      gradientNorm,
      learningRate,
      samples: this.samplesPerStep,
      milliseconds: performance.now() - begin,
    }
  }

  gradient(batchNumber: number): number {
    const { dataset, training } = this.options
    const batch = dataset.batch(batchNumber, training.batch)
    const samples = sampleCount(batch)
    this.samplesPerStep = samples
    const { gradients } = this.learner
    gradients.clear()
    let total = 0
    for (const part of splitBatch(batch, this.microbatch)) {
      total += this.withoutLeak(() => this.forwardBackward(part, 1 / samples, gradients))
    }
    const loss = total / samples
    if (!Number.isFinite(loss)) throw notFinite(this.stepNumber + 1, 'loss')
    return loss
  }

  lossAt(vector: string, batchNumber: number): number {
    const { dataset, training } = this.options
    const batch = dataset.batch(batchNumber, training.batch)
    let total = 0
    for (const part of splitBatch(batch, this.microbatch)) total += this.forward(vector, part).loss
    return total / sampleCount(batch)
  }

  evaluate(vector = 'theta', maxRows = Number.POSITIVE_INFINITY): EvaluationReport {
    const begin = performance.now()
    const { dataset } = this.options
    let total = 0
    let right = 0
    let samples = 0
    for (const part of validationParts(dataset, this.microbatch, maxRows)) {
      const result = this.forward(vector, part)
      total += result.loss
      right += result.right
      samples += result.samples
    }
    return {
      step: this.stepNumber,
      loss: total / samples,
      ...(dataset.kind === 'image' ? { accuracy: right / samples } : {}),
      samples,
      milliseconds: performance.now() - begin,
    }
  }

  generate(options: GenerateOptions): string {
    const { dataset, model, seed = 0 } = this.options
    if (model.architecture !== 'decoder' || dataset.tokenizer === undefined) {
      throw new ModelError('not-a-text-model', `a ${model.architecture} does not write text`, {
        architecture: model.architecture,
      })
    }
    const { context } = model
    const random = createGenerator(options.seed, `generate ${seed}`)
    return generateText(options, dataset.tokenizer, context, random, (tokens) => {
      // Padded to the full context: later tokens do not change earlier logits, and one shape needs one set of tables.
      const inputs = new Int32Array(context)
      inputs.set(tokens)
      const row = tokens.length - 1
      return this.logits('theta', { kind: 'text', rows: 1, context, inputs, targets: inputs }, (values, classes) =>
        values.slice(row * classes, (row + 1) * classes),
      )
    })
  }

  dispose(): void {
    for (const parameters of this.parameters.values()) parameters.dispose()
    this.parameters.clear()
    this.math.dispose()
  }

  /** Tensor operations executed since the trainer was made. */
  get operations(): number {
    return this.math.operations
  }

  private samplesPerStep = 0

  private get learner(): { optimizer: Optimizer; gradients: FlatGradient } {
    if (this.learning !== undefined) return this.learning
    throw new ModelError(
      'evaluates-only',
      'this trainer was made without a gradient and an optimizer: it only evaluates',
    )
  }

  /** Adds one part's gradient, times `weight`, to the sum; returns the sum of its losses. */
  private forwardBackward(part: Batch, weight: number, gradients: FlatGradient): number {
    const graph = new Graph(this.math, this.tensors('theta'), { training: true })
    const logits = forwardModel(graph, this.options.model, part)
    return backwardLoss(graph, logits, part, { weight, sink: gradients }).loss
  }

  private forward(vector: string, part: Batch): Outcome {
    return this.withoutLeak(() => {
      const graph = new Graph(this.math, this.tensors(vector), { training: false })
      return lossOf(graph, forwardModel(graph, this.options.model, part), part)
    })
  }

  private logits<Result>(vector: string, batch: Batch, use: (values: Float32Array, classes: number) => Result): Result {
    return this.withoutLeak(() => {
      const graph = new Graph(this.math, this.tensors(vector), { training: false })
      const logits = forwardModel(graph, this.options.model, batch)
      const result = use(this.math.read(logits.tensor), logits.tensor.shape.at(-1) as number)
      graph.dispose()
      return result
    })
  }

  private tensors(vector: string): Parameters {
    let parameters = this.parameters.get(vector)
    if (parameters === undefined) {
      parameters = new Parameters(this.math, this.layout, this.vector(vector))
      this.parameters.set(vector, parameters)
    } else {
      parameters.refresh()
    }
    return parameters
  }

  private vector(name: string): Float32Array {
    const vector = this.vectors.float32(name)
    if (vector.length === this.layout.length) return vector
    throw new ModelError(
      'vector-length',
      `vector ${name} has ${vector.length} elements; the model's layout has ${this.layout.length}`,
      { name, length: vector.length, expected: this.layout.length },
    )
  }

  private withoutLeak<Result>(pass: () => Result): Result {
    const held = () => [...this.parameters.values()].reduce((total, { size }) => total + size, 0)
    return withoutLeak(this.math, held, pass)
  }
}
