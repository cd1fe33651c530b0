/** How one peer trains: plain data, part of the run manifest. */

export interface AdamWConfig {
  name: 'adamw'
  /** Peak learning rate. */
  learningRate: number
  /** Default 0.9. */
  beta1?: number
  /** Default 0.95. */
  beta2?: number
  /** Default 1e-8. */
  epsilon?: number
  /** Decoupled; not applied to norms and biases. Default 0.1. */
  weightDecay?: number
}

export interface SgdConfig {
  name: 'sgd'
  /** Peak learning rate. */
  learningRate: number
  /** Heavy ball. Default 0.9. */
  momentum?: number
  /** Added to the gradient; not applied to norms and biases. Default 0. */
  weightDecay?: number
}

export type OptimizerConfig = AdamWConfig | SgdConfig

export interface TrainingConfig {
  /** Rows (sequences or images) per optimizer step. */
  batch: number
  /** Rows computed at once; a larger batch is accumulated, the last part may be smaller. Default: `batch`, at most 16 for text and 256 for images. */
  microbatch?: number
  /** Optimizer steps of the whole run: the length of the learning rate schedule. */
  steps: number
  optimizer: OptimizerConfig
  /** Steps over which the learning rate rises linearly from 0. Default: a twentieth of `steps`, at most 100. */
  warmup?: number
  /** The cosine ends at this share of the peak. Default 0.1. */
  finalRate?: number
  /** The gradient's L2 norm is cut to this. Default 1; 0 turns clipping off. */
  clip?: number
}
