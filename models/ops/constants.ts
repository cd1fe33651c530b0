import type { Engine } from '../types.ts'
import type { Tensor } from './primitives.ts'

/** Tensors that are made once and kept. */
export class Constants {
  private readonly tensors = new Map<string, Tensor>()
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  get size(): number {
    return this.tensors.size
  }

  get(key: string, make: () => Tensor): Tensor {
    let tensor = this.tensors.get(key)
    if (tensor === undefined) {
      tensor = this.engine.tf.keep(make())
      this.tensors.set(key, tensor)
    }
    return tensor
  }

  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose()
    this.tensors.clear()
  }
}
