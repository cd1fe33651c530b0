/** A multilayer perceptron in plain typed arrays: small enough to train dozens of peers inside a test. */
import { normal, type PlacedTensor, type Random, seededRandom } from '../../protocols/index.ts'
import type { Samples } from './clusters.ts'

/** How good a model is on some samples. */
export interface Fit {
  /** Mean cross-entropy, nats. */
  loss: number
  /** Share of samples whose label has the largest logit. */
  accuracy: number
}

/** A network of widths such as [32, 64, 10]: ReLU between its layers, softmax and cross-entropy at the end. */
export class Mlp {
  readonly widths: readonly number[]
  /** '0.weight' [in, out], '0.bias' [out], '1.weight', ... without gaps. */
  readonly tensors: readonly PlacedTensor[]
  readonly size: number
  readonly #math: Pick<Math, 'exp' | 'log'>
  /** Activations and their gradients of one sample, by layer. */
  readonly #values: Float32Array[]
  readonly #errors: Float32Array[]
  /** Sum of the powers of the sample's logits. */
  #sum = 0

  /** `math` computes the exponentials and logarithms; the last bits of `Math` may differ between machines. */
  constructor(widths: readonly number[], math: Pick<Math, 'exp' | 'log'> = Math) {
    this.widths = widths
    this.#math = math
    const tensors: PlacedTensor[] = []
    let offset = 0
    for (let layer = 0; layer + 1 < widths.length; layer++) {
      const [inputs, outputs] = [widths[layer]!, widths[layer + 1]!]
      tensors.push({ name: `${layer}.weight`, shape: [inputs, outputs], offset, length: inputs * outputs })
      tensors.push({ name: `${layer}.bias`, shape: [outputs], offset: offset + inputs * outputs, length: outputs })
      offset += (inputs + 1) * outputs
    }
    this.tensors = tensors
    this.size = offset
    this.#values = widths.map((width) => new Float32Array(width))
    this.#errors = widths.map((width) => new Float32Array(width))
  }

  /** The weight matrices, without biases. */
  get weights(): PlacedTensor[] {
    return this.tensors.filter(({ shape }) => shape.length > 1)
  }

  /** Glorot & Bengio's normal start: variance 2 / (in + out); biases 0. `draw` draws from the normal distribution. */
  initialize(theta: Float32Array, seed: number, draw: (random: Random) => number = normal): void {
    const random = seededRandom('mlp-start', seed)
    theta.fill(0)
    for (const { shape, offset, length } of this.weights) {
      const deviation = Math.sqrt(2 / (shape[0]! + shape[1]!))
      for (let i = offset; i < offset + length; i++) {
        theta[i] = deviation * draw(random)
      }
    }
  }

  /** Mean gradient of the loss over some samples into `gradient`; returns the mean loss. */
  gradient(theta: Float32Array, gradient: Float32Array, samples: Samples, batch: readonly number[]): number {
    gradient.fill(0)
    let loss = 0
    for (const sample of batch) {
      loss += this.#forward(theta, samples, sample)
      this.#backward(theta, gradient, samples.labels[sample]!, 1 / batch.length)
    }
    return loss / batch.length
  }

  /** Loss and accuracy over all samples. */
  evaluate(theta: Float32Array, samples: Samples): Fit {
    const logits = this.#values.at(-1)!
    let loss = 0
    let correct = 0
    for (const [sample, label] of samples.labels.entries()) {
      loss += this.#forward(theta, samples, sample)
      correct += logits.every((logit, k) => k === label || logit < logits[label]!) ? 1 : 0
    }
    return { loss: loss / samples.labels.length, accuracy: correct / samples.labels.length }
  }

  /** Fills #values for one sample; returns its loss. */
  #forward(theta: Float32Array, { points, labels, dimensions }: Samples, sample: number): number {
    const values = this.#values
    const first = values[0]!
    for (let d = 0; d < dimensions; d++) {
      first[d] = points[sample * dimensions + d]!
    }
    const last = this.widths.length - 1
    for (let layer = 0; layer < last; layer++) {
      const input = values[layer]!
      const output = values[layer + 1]!
      const width = output.length
      const from = this.tensors[2 * layer]!.offset
      const bias = from + input.length * width
      for (let j = 0; j < width; j++) {
        output[j] = theta[bias + j]!
      }
      for (let i = 0; i < input.length; i++) {
        const value = input[i]!
        if (value !== 0) {
          const row = from + i * width
          for (let j = 0; j < width; j++) {
            output[j] = output[j]! + value * theta[row + j]!
          }
        }
      }
      if (layer + 1 < last) {
        for (let j = 0; j < width; j++) {
          // Not Math.max: a NaN must not come out as 0.
          output[j] = output[j]! < 0 ? 0 : output[j]!
        }
      }
    }
    const logits = values[last]!
    const powers = this.#errors[last]!
    const largest = largestOf(logits)
    let sum = 0
    for (let k = 0; k < logits.length; k++) {
      powers[k] = this.#math.exp(logits[k]! - largest)
      sum += powers[k]!
    }
    this.#sum = sum
    // Of a model that broke, NaN or infinite; Math.log is exact there.
    const log = sum > 0 && sum < Number.POSITIVE_INFINITY ? this.#math.log(sum) : Math.log(sum)
    return log + largest - logits[labels[sample]!]!
  }

  /** Adds `share` times the gradient of the sample whose values, and powers of the logits, #forward left. */
  #backward(theta: Float32Array, gradient: Float32Array, label: number, share: number): void {
    const last = this.widths.length - 1
    const outer = this.#errors[last]!
    for (let k = 0; k < outer.length; k++) {
      outer[k] = share * (outer[k]! / this.#sum - (k === label ? 1 : 0))
    }
    for (let layer = last - 1; layer >= 0; layer--) {
      const input = this.#values[layer]!
      const error = this.#errors[layer]!
      const above = this.#errors[layer + 1]!
      const width = above.length
      const from = this.tensors[2 * layer]!.offset
      const bias = from + input.length * width
      for (let j = 0; j < width; j++) {
        gradient[bias + j] = gradient[bias + j]! + above[j]!
      }
      for (let i = 0; i < input.length; i++) {
        const value = input[i]!
        const row = from + i * width
        // A unit that is off passes no gradient, to its weights nor through them; and below the first layer nobody asks.
        let through = 0
        if (value !== 0) {
          for (let j = 0; j < width; j++) {
            gradient[row + j] = gradient[row + j]! + value * above[j]!
          }
          for (let j = 0; j < width && layer > 0; j++) {
            through += theta[row + j]! * above[j]!
          }
        }
        error[i] = through
      }
    }
  }
}

/** The largest value; NaN where there is one. */
function largestOf(values: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY
  for (let k = 0; k < values.length; k++) {
    largest = Math.max(largest, values[k]!)
  }
  return largest
}

/** Numbers of `count` samples, drawn with replacement from a shard. */
export function drawBatch(shard: readonly number[], count: number, random: Random): number[] {
  return Array.from({ length: count }, () => shard[random.integer(shard.length)]!)
}
