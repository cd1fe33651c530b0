/** What describes a model, one type per architecture. Plain data: it is what the run manifest and a checkpoint hold. */

/** Llama-style decoder: RMSNorm, rotary positions, SwiGLU, optional grouped keys (Touvron et al. 2023). */
export interface DecoderConfig {
  architecture: 'decoder'
  /** Number of token ids. */
  vocabulary: number
  /** Longest sequence, in tokens, that the model is trained on. */
  context: number
  layers: number
  /** Length of a token's vector. A multiple of 2 * heads and of 16. */
  width: number
  heads: number
  /** Heads of the keys and values; `heads` is a multiple of it. Default: `heads`. */
  keyValueHeads?: number
  /** Length of the inner vector of the SwiGLU feed-forward block. */
  hidden: number
  /** Whether the output matrix is the embedding. Default false. */
  tied?: boolean
  /** Base of the rotary frequencies. Default 10,000. */
  rotaryBase?: number
  /** Added to the mean square in RMSNorm. Default 1e-5. */
  normEpsilon?: number
}

/** Convolutional classifier: 3 x 3 convolutions with ReLU, each followed by 2 x 2 max pooling, then a dense hidden layer. */
export interface CnnConfig {
  architecture: 'cnn'
  height: number
  width: number
  channels: number
  classes: number
  /** Number of filters of each convolution, e.g. [16, 32]. */
  filters: readonly number[]
  /** Units of the dense layer before the classes. */
  hidden: number
}

/** Multilayer perceptron with ReLU over flattened images. */
export interface MlpConfig {
  architecture: 'mlp'
  height: number
  width: number
  channels: number
  classes: number
  /** Units of each hidden layer, e.g. [128, 64]. */
  hidden: readonly number[]
}

export type ModelConfig = DecoderConfig | CnnConfig | MlpConfig
