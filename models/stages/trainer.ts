import type { Kernels } from '../../kernels/index.ts'
import { architectureOf, forwardLayers, initialize, type ModelConfig } from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import { Graph, type Parameters, type Primitives, primitivesOf, type Value, withoutLeak } from '../ops/index.ts'
import type { TrainingConfig } from '../optimizers/index.ts'
import type { NamedVectors } from '../trainer/index.ts'
import { backwardLoss, lossOf, type Outcome } from '../trainer/loss.ts'
import { sampleCount } from '../trainer/microbatch.ts'
import type { Dataset, Engine, Layout } from '../types.ts'
import { layersOf, type ModelCut, stageDefinitions } from './cut.ts'
import { Place, type PlaceModules, type PlaceStep } from './place.ts'
import { Slots } from './slots.ts'
import { Sources, type StageSource } from './sources.ts'
import { accumulatorName, momentNames, placeBegin, placeLength } from './vectors.ts'

/** Where parameters lie at a peer of a pipeline: the ends, or the stage in a place (0, 1, ...). */
export type StagePlace = 'ends' | number

export interface StageTrainerOptions {
  engine: Engine
  /** Kernels over the memory in which `vectors` lie. */
  kernels: Kernels
  /** Holds at least what {@link stageVectors} names. */
  vectors: NamedVectors
  model: ModelConfig
  training: TrainingConfig
  cut: ModelCut
  dataset: Dataset
  /** Seed of the run's start. */
  seed: number
  /** Rows of the validation data that count. Default all. */
  validationRows?: number
  /**
   * The stage of each place, 0 for none; written by {@link StageTrainer.hold}. Given by whoever wants it to outlive this trainer, as the vectors
   * do: another one over the same vectors takes the places up again. Default: all are empty.
   */
  held?: Int32Array
}

/**
 * The parts of a model that a peer of a pipeline holds, synchronous, made to run in its own thread. Parameters, gradients and moments are shared
 * vectors: the ends, then the places. What goes from part to part is the vector 'stream': each operation reads it and leaves its result there.
 *
 * A forward pass under a slot (a number of the caller's choice) keeps what its backward pass needs. On the native engine that pass then sees the
 * parameters as they are at its time, on the others as they were in the forward pass; they differ only where two peers with data step the same stage.
 */
export class StageTrainer {
  readonly cut: ModelCut
  /** Names of the optimizer's vectors. */
  readonly moments: readonly string[]
  private readonly options: StageTrainerOptions
  private readonly math: Primitives
  private readonly modules: PlaceModules
  private readonly sources: Sources
  private readonly stream: Float32Array
  private readonly ends: Place
  private readonly held: Int32Array
  private readonly places: (Place | undefined)[]
  private readonly slots = new Slots()

  /** @param math the engine's primitives, or a wrapping of them that measures */
  constructor(options: StageTrainerOptions, math: Primitives = primitivesOf(options.engine)) {
    const { cut, kernels, training, vectors } = options
    this.options = options
    this.cut = cut
    this.moments = momentNames(training)
    this.math = math
    this.modules = { math, kernels, vectors, training, accumulators: cut.accumulators }
    this.sources = new Sources(options)
    this.stream = vectors.float32('stream')
    this.checkVectors()
    this.held = options.held ?? new Int32Array(cut.places)
    this.ends = this.place(0, 'ends')
    this.places = Array.from({ length: cut.places }, (_, index) => {
      const stage = this.held[index] as number
      return stage === 0 ? undefined : this.place(stage, index)
    })
  }

  /** Parts of the validation data, each at most a microbatch long. */
  validationParts(): number {
    return this.sources.validationParts
  }

  /**
   * From here on `place` holds `stage` (1 to S), whose parameters the caller brings. The place's slots are dropped and its gradients <- 0; with `fresh`
   * so are its moments.
   * @throws ModelError 'bad-place'
   */
  hold(place: number, stage: number, fresh: boolean): void {
    this.checkPlace(place)
    if (!Number.isInteger(stage) || stage < 1 || stage > this.cut.stages) {
      throw new ModelError('bad-place', `stage ${stage} does not exist; stages are 1 to ${this.cut.stages}`, { stage })
    }
    this.empty(place, fresh)
    this.places[place]?.dispose()
    this.places[place] = this.place(stage, place)
    this.held[place] = stage
  }

  /**
   * A place <- the run's start of a part (0 for the ends), the same values as in the whole model; its moments and gradients <- 0.
   * @throws ModelError 'bad-place' when ends and stages are mixed up
   */
  initial(part: number, place: StagePlace): void {
    const { model, seed } = this.options
    if (place === 'ends') {
      if (part !== 0) throw new ModelError('bad-place', `the ends are part 0, not ${part}`, { part, place })
      this.empty('ends', true)
    } else this.hold(place, part, true)
    const { layout, theta } = this.placeOf(place)
    initialize(layout, model, seed, theta)
  }

  /** Where the tensors of what a place holds lie, and its parameters. @throws ModelError 'bad-place', 'place-empty' */
  parameters(place: StagePlace): { layout: Layout; theta: Float32Array } {
    const { layout, theta } = this.placeOf(place)
    return { layout, theta }
  }

  /** stream <- the embedded rows of the source; returns how many. Without a slot nothing is kept. */
  embed(source: StageSource, slot?: number): number {
    const { model } = this.options
    const batch = this.sources.batch(source)
    this.forwardPass(this.ends, slot, (graph) => architectureOf(model).embed(graph, model, batch))
    return batch.rows
  }

  /** stream <- the stage in `place` applied to the first `rows` rows of stream. @throws ModelError 'bad-rows', 'place-empty' */
  forward(place: number, rows: number, slot?: number): void {
    const { model } = this.options
    const stage = this.placeOf(place)
    const layers = layersOf(this.cut, stage.part)
    this.forwardPass(stage, slot, (graph) =>
      forwardLayers(graph, model, layers, this.input(graph, layers.begin, rows, slot !== undefined), rows),
    )
  }

  /**
   * Sum of the source's losses at stream. With an accumulator also the backward pass of the head: stream <- the gradient at stream, the ends' gradient
   * += its part; each sample weighs 1 / (samples of the whole step).
   * @throws ModelError 'bad-source' for an accumulator with anything but training data
   */
  loss(source: StageSource, accumulator?: number): Outcome {
    const { model } = this.options
    const batch = this.sources.batch(source)
    if (accumulator !== undefined) this.checkAccumulator(accumulator)
    if (accumulator !== undefined && source.kind !== 'training') {
      throw new ModelError('bad-source', `only training data have a gradient, not ${source.kind} data`, {
        kind: source.kind,
      })
    }
    return this.pass(this.ends, (parameters) => {
      const graph = new Graph(this.math, parameters, { training: accumulator !== undefined })
      const last = architectureOf(model).layers(model)
      const logits = architectureOf(model).head(graph, model, this.input(graph, last, batch.rows, false))
      if (accumulator === undefined) return lossOf(graph, logits, batch)
      const weight = batch.rows / (sampleCount(batch) * this.cut.rows * this.cut.microbatches)
      return backwardLoss(graph, logits, batch, { weight, sink: this.ends.sink(accumulator) })
    })
  }

  /**
   * stream (gradient at what the pass of that slot gave) <- gradient at what it got; the gradient of its parameters is added to an accumulator. The slot
   * is free again. Of an embedding, stream is not written.
   * @throws ModelError 'slot-unknown'
   */
  backward(slot: number, accumulator: number): void {
    this.checkAccumulator(accumulator)
    const { graph, output, place } = this.slots.get(slot)
    withoutLeak(this.math, this.tensorsHeld, () => {
      try {
        const { shape, size } = output.tensor
        graph.backward(output, this.math.float(this.stream.subarray(0, size), shape), place.sink(accumulator))
      } finally {
        this.slots.drop(slot)
      }
    })
  }

  /** Frees a slot without a backward pass; one that holds nothing is fine. */
  drop(slot: number): void {
    this.slots.drop(slot)
  }

  /** Gradients of a place in an accumulator <- 0. */
  clear(place: StagePlace, accumulator: number): void {
    this.checkAccumulator(accumulator)
    this.region(accumulatorName(accumulator), place).fill(0)
  }

  /**
   * One optimizer step of a place from an accumulator, which is 0 afterwards. The gradient is clipped by its own norm.
   * @throws ModelError 'not-finite' and changes nothing where the gradient is not finite.
   */
  step(place: StagePlace, accumulator: number, step: PlaceStep): { gradientNorm: number; learningRate: number } {
    this.checkAccumulator(accumulator)
    return this.placeOf(place).step(accumulator, step)
  }

  /** Logits of one sample (a token) of stream. @throws ModelError 'bad-rows' */
  logits(row: number): Float32Array {
    const { model } = this.options
    const architecture = architectureOf(model)
    const last = architecture.stream(model, architecture.layers(model))
    const shape = [1, ...last.slice(1)]
    const size = shape.reduce((product, side) => product * side, 1)
    const begin = row * size
    if (!Number.isInteger(row) || row < 0 || begin + size > this.stream.length) this.refuseRows(row, last)
    return this.pass(this.ends, (parameters) => {
      const graph = new Graph(this.math, parameters, { training: false })
      const x = graph.data(this.math.float(this.stream.subarray(begin, begin + size), shape))
      const values = this.math.read(architecture.head(graph, model, x).tensor).slice()
      graph.dispose()
      return values
    })
  }

  /** Gives back the engine's tensors. The shared vectors stay. */
  dispose(): void {
    this.slots.dropAll()
    for (const place of [this.ends, ...this.places]) place?.dispose()
    this.math.dispose()
  }

  /** Tensors that outlive a pass on purpose. */
  private readonly tensorsHeld = (): number => {
    let total = this.ends.size + this.slots.size
    for (const place of this.places) total += place?.size ?? 0
    return total
  }

  private forwardPass(place: Place, slot: number | undefined, forward: (graph: Graph) => Value): void {
    if (slot !== undefined) this.slots.checkFree(slot)
    withoutLeak(this.math, this.tensorsHeld, () => {
      const parameters = place.parameters()
      let kept = false
      try {
        const graph = new Graph(this.math, parameters, { training: slot !== undefined })
        const output = forward(graph)
        this.stream.set(this.math.read(output.tensor))
        if (slot === undefined) graph.dispose()
        else {
          this.slots.keep(slot, { graph, output, place, parameters })
          kept = true
        }
      } finally {
        if (!kept) place.release(parameters)
      }
    })
  }

  /** A pass of which nothing is kept. */
  private pass<Result>(place: Place, run: (parameters: Parameters) => Result): Result {
    return withoutLeak(this.math, this.tensorsHeld, () => {
      const parameters = place.parameters()
      try {
        return run(parameters)
      } finally {
        place.release(parameters)
      }
    })
  }

  /**
   * The first rows of stream as it is after some layers, whose gradient comes back into stream. The engine may use the vector's memory in place: stream is only
   * written once all else of a pass is done. A graph that is kept needs a copy, because other passes come between.
   */
  private input(graph: Graph, layers: number, rows: number, kept: boolean): Value {
    const { model } = this.options
    const [first, ...sides] = architectureOf(model).stream(model, layers) as [number, ...number[]]
    if (!Number.isInteger(rows) || rows < 1 || rows > this.cut.rows) this.refuseRows(rows, [first, ...sides])
    const shape = [rows * first, ...sides]
    const size = shape.reduce((product, side) => product * side, 1)
    const values = kept ? this.stream.slice(0, size) : this.stream.subarray(0, size)
    return graph.input(this.math.float(values, shape), (gradient) => this.stream.set(this.math.read(gradient)))
  }

  private place(part: number, place: StagePlace): Place {
    const definitions = stageDefinitions(this.options.model, this.cut)[part]
    return new Place(this.modules, part, definitions ?? [], placeBegin(this.cut, place))
  }

  private placeOf(place: StagePlace): Place {
    if (place === 'ends') return this.ends
    this.checkPlace(place)
    const held = this.places[place]
    if (held === undefined) throw new ModelError('place-empty', `place ${place} holds no stage`, { place })
    return held
  }

  /** Drops the slots of a place; its gradients and, if so wished, its moments <- 0. */
  private empty(place: StagePlace, fresh: boolean): void {
    const held = place === 'ends' ? this.ends : this.places[place]
    if (held !== undefined) this.slots.dropAll(held)
    const gradients = Array.from({ length: this.cut.accumulators }, (_, index) => accumulatorName(index))
    for (const name of fresh ? [...gradients, ...this.moments] : gradients) this.region(name, place).fill(0)
  }

  /** All of a place's memory in a vector, whatever it holds. */
  private region(vector: string, place: StagePlace): Float32Array {
    if (place !== 'ends') this.checkPlace(place)
    const begin = placeBegin(this.cut, place)
    const length = place === 'ends' ? (this.cut.sizes[0] as number) : placeLength(this.cut)
    return this.options.vectors.float32(vector).subarray(begin, begin + length)
  }

  private checkPlace(place: number): void {
    if (Number.isInteger(place) && place >= 0 && place < this.cut.places) return
    throw new ModelError('bad-place', `place ${place} does not exist; there are ${this.cut.places}`, { place })
  }

  private checkAccumulator(accumulator: number): void {
    if (Number.isInteger(accumulator) && accumulator >= 0 && accumulator < this.cut.accumulators) return
    const message = `accumulator ${accumulator} does not exist; there are ${this.cut.accumulators}`
    throw new ModelError('bad-accumulator', message, { accumulator })
  }

  private checkVectors(): void {
    const { cut, vectors } = this.options
    const length = placeBegin(cut, cut.places)
    const gradients = Array.from({ length: cut.accumulators }, (_, index) => accumulatorName(index))
    for (const name of ['theta', ...gradients, ...this.moments]) {
      const actual = vectors.float32(name).length
      if (actual === length) continue
      const message = `vector ${name} has ${actual} elements; the ends and ${cut.places} places need ${length}`
      throw new ModelError('vector-length', message, { name, length: actual, expected: length })
    }
  }

  private refuseRows(rows: number, shape: readonly number[]): never {
    const message = `row ${rows} of a stream of ${this.cut.rows} rows of [${shape.join(', ')}]`
    throw new ModelError('bad-rows', message, { rows, allowed: this.cut.rows })
  }
}
