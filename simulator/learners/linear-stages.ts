/** A pipeline's stages without TensorFlow: residual layers h + W tanh(h), which do not commute, with exact gradients; and the whole network in one piece to compare with. */
import type { SharedVectors, VectorSpec } from '../../kernels/index.ts'
import {
  normal,
  type StageCut,
  type StagePlace,
  type StageSource,
  StarlingError,
  seededRandom,
} from '../../protocols/index.ts'
import type { StageTrainerLike } from './stage-peer.ts'

/** Values of a row in the stream. */
export const WIDTH = 6

/** Parameters of a square matrix, padded to a cache line as those of real models. */
const MATRIX = 48

/** Parts of the validation data. */
const VALIDATION_PARTS = 3

const MOMENTUM = 0.5

export interface LinearCutOptions {
  stages: number
  places: number
  microbatches: number
  accumulators: number
  /** Rows of a microbatch. Default 3. */
  rows?: number
}

/** How the toy is cut: the ends are two matrices, every stage is one. */
export const linearCut = ({ stages, places, microbatches, accumulators, rows = 3 }: LinearCutOptions): StageCut => ({
  stages,
  sizes: [2 * MATRIX, ...Array.from({ length: stages }, () => MATRIX)],
  layers: [0, ...Array.from({ length: stages }, () => 1)],
  stream: Array.from({ length: stages + 1 }, () => WIDTH),
  alike: true,
  rows,
  microbatches,
  places,
  accumulators,
})

/** Vectors of the toy at one peer. */
export function linearVectors(cut: StageCut): VectorSpec {
  const length = cut.sizes[0]! + cut.places * MATRIX
  const gradients = Array.from({ length: cut.accumulators }, (_, i) => (i === 0 ? 'gradient' : `gradient-${i}`))
  return {
    ...Object.fromEntries(['theta', 'velocity', ...gradients].map((name) => [name, { type: 'float32', length }])),
    stream: { type: 'float32', length: cut.rows * WIDTH },
  }
}

/** The common start of a part. */
export function linearStart(part: number, size: number): Float32Array {
  const random = seededRandom('linear-stages', 'start', part)
  return Float32Array.from({ length: size }, (_, i) => (i % MATRIX < WIDTH * WIDTH ? 0.4 * normal(random) : 0))
}

export interface LinearOptions {
  cut: StageCut
  vectors: SharedVectors
  /** What tells the data of one peer from those of another. */
  shard: string
  /** Learning rate. Default 0.1; at 0 the gradient of every step is known beforehand. */
  rate?: number
}

/** What a forward pass keeps. */
interface Kept {
  place: StagePlace
  input: Float32Array
}

const multiply = (matrix: Float32Array, input: Float32Array, out: Float32Array, transposed = false): void => {
  for (let i = 0; i < WIDTH; i++) {
    let sum = 0
    for (let j = 0; j < WIDTH; j++) {
      sum += matrix[transposed ? j * WIDTH + i : i * WIDTH + j]! * input[j]!
    }
    out[i] = sum
  }
}

/** matrix += left right^T. */
const addOuter = (matrix: Float32Array, left: Float32Array, right: Float32Array): void => {
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      matrix[i * WIDTH + j] = matrix[i * WIDTH + j]! + left[i]! * right[j]!
    }
  }
}

/** The rows of a source, and what they should become. */
export function linearRows(
  shard: string,
  source: StageSource,
  rows: number,
): { inputs: Float32Array; targets: Float32Array } {
  const name =
    source.kind === 'training'
      ? [shard, source.batch, source.microbatch]
      : source.kind === 'validation'
        ? ['validation', source.part]
        : ['tokens', ...source.tokens]
  const count = source.kind === 'tokens' ? 1 : rows
  const random = seededRandom('linear-stages', 'rows', ...name)
  const inputs = Float32Array.from({ length: count * WIDTH }, () => normal(random))
  const draw = seededRandom('linear-stages', 'target')
  const wanted = Float32Array.from({ length: WIDTH * WIDTH }, () => normal(draw))
  const targets = new Float32Array(count * WIDTH)
  for (let row = 0; row < count; row++) {
    multiply(wanted, inputs.subarray(row * WIDTH, (row + 1) * WIDTH), targets.subarray(row * WIDTH, (row + 1) * WIDTH))
  }
  return { inputs, targets }
}

/** The operations of the port {@link import('../../protocols/index.ts').StageLearner}, done at once. */
export function createLinearTrainer({
  cut,
  vectors,
  shard,
  rate: learningRate = 0.1,
}: LinearOptions): StageTrainerLike {
  const theta = vectors.float32('theta')
  const velocity = vectors.float32('velocity')
  const stream = vectors.float32('stream')
  const gradients = Array.from({ length: cut.accumulators }, (_, i) =>
    vectors.float32(i === 0 ? 'gradient' : `gradient-${i}`),
  )
  /** Places that hold something. */
  const held = new Set<number>()
  const slots = new Map<number, Kept>()

  const range = (place: StagePlace): [number, number] => {
    if (place === 'ends') {
      return [0, cut.sizes[0]!]
    }
    const begin = cut.sizes[0]! + place * MATRIX
    return [begin, begin + MATRIX]
  }
  const at = (vector: Float32Array, place: StagePlace): Float32Array => vector.subarray(...range(place))
  const mustHold = (place: number): void => {
    if (!held.has(place)) {
      throw new StarlingError('place-empty', `place ${place} holds nothing`, { place })
    }
  }
  const row = (vector: Float32Array, i: number): Float32Array => vector.subarray(i * WIDTH, (i + 1) * WIDTH)
  const keep = (slot: number | undefined, place: StagePlace, input: Float32Array): void => {
    if (slot === undefined) {
      return
    }
    if (slots.has(slot)) {
      throw new StarlingError('slot-taken', `slot ${slot} is taken`, { slot })
    }
    slots.set(slot, { place, input })
  }
  const empty = (place: StagePlace): void => {
    for (const gradient of gradients) {
      at(gradient, place).fill(0)
    }
    for (const [slot, kept] of slots) {
      if (kept.place === place) {
        slots.delete(slot)
      }
    }
  }

  return {
    cut,
    moments: ['velocity'],
    validationParts: () => VALIDATION_PARTS,
    hold(place, _stage, fresh) {
      empty(place)
      held.add(place)
      if (fresh) {
        at(velocity, place).fill(0)
      }
    },
    initial(part, place) {
      empty(place)
      if (place !== 'ends') {
        held.add(place)
      }
      at(velocity, place).fill(0)
      at(theta, place).set(linearStart(part, cut.sizes[part]!))
    },
    embed(source, slot) {
      const { inputs } = linearRows(shard, source, cut.rows)
      const rows = inputs.length / WIDTH
      for (let i = 0; i < rows; i++) {
        multiply(at(theta, 'ends').subarray(0, MATRIX), row(inputs, i), row(stream, i))
      }
      keep(slot, 'ends', inputs)
      return rows
    },
    forward(place, rows, slot) {
      mustHold(place)
      const input = stream.slice(0, rows * WIDTH)
      const change = new Float32Array(WIDTH)
      for (let i = 0; i < rows; i++) {
        multiply(at(theta, place), row(input, i).map(Math.tanh), change)
        row(stream, i).forEach((value, k, all) => {
          all[k] = value + change[k]!
        })
      }
      keep(slot, place, input)
    },
    loss(source, accumulator) {
      const { targets } = linearRows(shard, source, cut.rows)
      const rows = targets.length / WIDTH
      const head = at(theta, 'ends').subarray(MATRIX)
      const share = 1 / (cut.rows * cut.microbatches)
      const out = new Float32Array(WIDTH)
      let loss = 0
      for (let i = 0; i < rows; i++) {
        const input = row(stream, i).slice()
        multiply(head, input, out)
        const error = out.map((value, k) => value - row(targets, i)[k]!)
        loss += error.reduce((sum, value) => sum + 0.5 * value * value, 0)
        if (accumulator !== undefined) {
          const scaled = error.map((value) => value * share)
          addOuter(at(gradients[accumulator]!, 'ends').subarray(MATRIX), scaled, input)
          multiply(head, scaled, row(stream, i), true)
        }
      }
      return { loss, samples: rows, right: 0 }
    },
    backward(slot, accumulator) {
      const kept = slots.get(slot)
      if (kept === undefined) {
        throw new StarlingError('slot-unknown', `slot ${slot} holds nothing`, { slot })
      }
      slots.delete(slot)
      const { place, input } = kept
      const gradient = at(gradients[accumulator]!, place)
      const back = new Float32Array(WIDTH)
      for (let i = 0; i < input.length / WIDTH; i++) {
        const from = row(stream, i)
        if (place === 'ends') {
          addOuter(gradient.subarray(0, MATRIX), from, row(input, i))
          continue
        }
        const bent = row(input, i).map(Math.tanh)
        addOuter(gradient, from, bent)
        multiply(at(theta, place), from, back, true)
        from.forEach((value, k, all) => {
          all[k] = value + back[k]! * (1 - bent[k]! ** 2)
        })
      }
    },
    drop(slot) {
      slots.delete(slot)
    },
    clear(place, accumulator) {
      at(gradients[accumulator]!, place).fill(0)
    },
    step(place, accumulator, { rate }) {
      const gradient = at(gradients[accumulator]!, place)
      if (!gradient.every(Number.isFinite)) {
        throw new StarlingError('not-finite', 'the gradient is not finite', { place })
      }
      const [values, speed] = [at(theta, place), at(velocity, place)]
      for (let i = 0; i < values.length; i++) {
        speed[i] = MOMENTUM * speed[i]! + gradient[i]!
        values[i] = values[i]! - learningRate * rate * speed[i]!
      }
      const gradientNorm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0))
      gradient.fill(0)
      return { gradientNorm, learningRate: learningRate * rate }
    },
    logits() {
      // A text is one row here, however many tokens it has.
      const out = new Float32Array(WIDTH)
      multiply(at(theta, 'ends').subarray(MATRIX), row(stream, 0), out)
      return out
    },
  }
}
