/** What the rest of Starling sees of `models/`. */

/** One tensor of a model inside the flat parameter vector. */
export interface TensorSpec {
  /** Name in the safetensors file, as Hugging Face `transformers` expects it where the architecture exists there. */
  name: string
  shape: readonly number[]
  /** First element in the flat vector; a multiple of 16, so that every tensor starts on a 64-byte boundary. */
  offset: number
  /** Number of elements. */
  length: number
}

/** How a model's tensors lie in its flat vector. */
export interface Layout {
  tensors: readonly TensorSpec[]
  /** Elements of the flat vector, padding included; a multiple of 16. Padding is zero and stays zero. */
  length: number
  /** Trainable values, padding not counted. */
  parameters: number
}

/** One optimizer step, as the learner reports it. */
export interface StepReport {
  /** Steps taken since the start of the run, this one included. */
  step: number
  /** Mean loss of the batch before the step, nats per token (text) or per image. */
  loss: number
  /** L2 norm of the gradient before clipping. */
  gradientNorm: number
  learningRate: number
  /** Tokens or images in the batch. */
  samples: number
  /** Wall time of the step. */
  milliseconds: number
}

/** One pass over the validation data. */
export interface EvaluationReport {
  step: number
  /** Mean loss over the whole validation split, nats per token (text) or per image. */
  loss: number
  /** Share of right answers, for classifiers only. */
  accuracy?: number
  samples: number
  milliseconds: number
}

/** Options of text generation. */
export interface GenerateOptions {
  prompt: string
  /** Tokens to add. */
  tokens: number
  /** 0 takes the most likely token. */
  temperature: number
  /** Only the k most likely tokens are drawn from; 0 means all. */
  topK: number
  seed: number
}

/** One mixed or uniform minibatch. Text: `targets` are `inputs` shifted by one. */
export type Batch =
  | { kind: 'text'; rows: number; context: number; inputs: Int32Array; targets: Int32Array }
  | {
      kind: 'image'
      rows: number
      height: number
      width: number
      channels: number
      pixels: Float32Array
      labels: Int32Array
    }

/** Training and validation data of one peer; batches are a pure function of (run seed, shard, number). */
export interface Dataset {
  readonly kind: 'text' | 'image'
  /** Size of the vocabulary (text) or number of classes (images). */
  readonly classes: number
  /** Text only. */
  readonly tokenizer?: Tokenizer
  /** Training batch `number` of this peer's shard. */
  batch(number: number, rows: number): Batch
  /** The validation split, the same for every peer and never trained on, in batches of at most `rows`. */
  validation(rows: number): Iterable<Batch>
}

export interface Tokenizer {
  /** Vocabulary size. */
  readonly size: number
  encode(text: string): Int32Array
  decode(tokens: Int32Array | readonly number[]): string
}

/** Which engine runs the model, and why that one. */
export interface Engine {
  readonly name: 'native' | 'wasm' | 'js'
  /** One sentence for the user, e.g. why the native engine is not used. */
  readonly why: string
  readonly tf: typeof import('@tensorflow/tfjs-core')
}
