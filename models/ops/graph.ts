/**
 * Reverse-mode differentiation over a few fat operations, each with its forward and its hand-written backward. It takes the place of
 * TensorFlow.js's own tape, which works operation by operation (about 12 µs each, three times as many), keeps every intermediate until the
 * end, and lacks gradients on the WebAssembly backend.
 *
 * Ownership: a value's tensor is disposed of by the backward of the operation that made it, by then all its users are done; a gradient is
 * owned by the backward that takes it. After {@link Graph.backward} no tensor of the pass is left.
 */
import type { Parameters } from './parameters.ts'
import type { Primitives, Tensor } from './primitives.ts'

/** A tensor in the forward pass, and the gradients that have arrived for it. */
export interface Value {
  readonly tensor: Tensor
  /** False for data: nothing needs its gradient. */
  readonly differentiable: boolean
  gradients: Tensor[]
}

/** Where the parameters' gradients go. */
export interface GradientSink {
  /** Adds to the gradient of a parameter, or of stacked ones. The caller keeps the tensor. */
  add(parameters: readonly string[], gradient: Tensor): void
  /** Adds row i of `rows` to row ids[i] of the gradient of a table. */
  addRows(parameter: string, ids: Int32Array, rows: Tensor): void
}

interface Entry {
  output: Value
  saved: readonly Tensor[]
  backward: (gradient: Tensor) => void
}

export class Graph {
  readonly math: Primitives
  readonly parameters: Parameters
  /** Whether a backward pass follows; without one the graph only computes values, for evaluation and generation. */
  readonly training: boolean
  private sink: GradientSink | undefined
  private readonly tape: Entry[] = []

  constructor(math: Primitives, parameters: Parameters, options: { training: boolean }) {
    this.math = math
    this.parameters = parameters
    this.training = options.training
  }

  /** Tensors that the graph owns now. */
  get size(): number {
    return this.tape.reduce((total, { saved }) => total + 1 + saved.length, 0)
  }

  /** The tensor of a parameter, or of neighbouring matrices stacked; owned by {@link Parameters}. */
  parameter(...names: readonly string[]): Tensor {
    return this.parameters.tensor(...names)
  }

  /** A value that needs no gradient. The graph owns the tensor from here. */
  data(tensor: Tensor): Value {
    return this.record(tensor, [], () => undefined, false)
  }

  /** A value from outside, which the graph owns from here. `take` reads its gradient in the backward pass; that tensor stays the graph's. */
  input(tensor: Tensor, take: (gradient: Tensor) => void): Value {
    return this.record(tensor, [], take)
  }

  /**
   * Registers the result of an operation.
   * @param saved tensors that the backward reads beside its inputs and output, disposed of after it
   * @param backward gets the gradient of the output, which stays the graph's; gives gradients to the inputs with {@link give}
   */
  record(tensor: Tensor, saved: readonly Tensor[], backward: (gradient: Tensor) => void, differentiable = true): Value {
    const output: Value = { tensor, differentiable, gradients: [] }
    this.tape.push({ output, saved, backward })
    return output
  }

  /** Hands a gradient, and its ownership, to a value. */
  give(value: Value, gradient: Tensor): void {
    value.gradients.push(gradient)
  }

  /** Adds to a parameter's gradient and disposes of the tensor. */
  giveParameter(names: readonly string[], gradient: Tensor): void {
    this.sink?.add(names, gradient)
    gradient.dispose()
  }

  /** Adds gradients to rows of a table. The caller keeps the tensor. */
  giveRows(name: string, ids: Int32Array, rows: Tensor): void {
    this.sink?.addRows(name, ids, rows)
  }

  /** Runs the tape backwards from the last value, whose gradient is given, and frees everything. The parameters' gradients go to `sink`. */
  backward(output: Value, gradient: Tensor, sink: GradientSink): void {
    this.sink = sink
    this.give(output, gradient)
    for (let entry = this.tape.pop(); entry !== undefined; entry = this.tape.pop()) {
      const total = this.collect(entry.output)
      try {
        if (total !== undefined) entry.backward(total)
      } finally {
        total?.dispose()
        this.free(entry)
      }
    }
  }

  /** Takes the tensors out of the scope they were made in, which would free them at its end: the backward pass comes in another one. */
  keep(): void {
    const { tf } = this.math.engine
    for (const { output, saved } of this.tape) for (const tensor of [output.tensor, ...saved]) tf.keep(tensor)
  }

  /** Without a backward pass to come, frees all values but this one: what was computed before is not needed again. Else does nothing. */
  forgetBefore(value: Value): Value {
    if (this.training) return value
    for (const entry of this.tape.splice(0)) {
      if (entry.output === value) this.tape.push(entry)
      else this.free(entry)
    }
    return value
  }

  /** Frees everything without a backward pass. */
  dispose(): void {
    for (let entry = this.tape.pop(); entry !== undefined; entry = this.tape.pop()) this.free(entry)
  }

  private collect(value: Value): Tensor | undefined {
    const [first, ...others] = value.gradients
    value.gradients = []
    if (first === undefined || others.length === 0) return first
    const sum = this.math.addAll([first, ...others])
    for (const tensor of [first, ...others]) tensor.dispose()
    return sum
  }

  private free({ output, saved }: Entry): void {
    for (const tensor of output.gradients) tensor.dispose()
    for (const tensor of saved) tensor.dispose()
    output.tensor.dispose()
  }
}
