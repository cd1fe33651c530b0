import type { Layout } from '../../../models/index.ts'
import type { CheckpointInput } from '../index.ts'

/** Elements of the test state's parameters: several slices of the writer. */
export const ELEMENTS = 300_000

const layout: Layout = {
  tensors: [
    { name: 'a.weight', shape: [1_000, 100], offset: 0, length: 100_000 },
    { name: 'b.bias', shape: [7], offset: 100_000, length: 7 },
    { name: 'c.weight', shape: [199_984], offset: 100_016, length: 199_984 },
  ],
  length: ELEMENTS,
  parameters: 299_991,
}

/** A state whose every value is its step, so that a mixture of two steps shows. Padding is zero. */
export function stateOf(step: number): CheckpointInput {
  const theta = new Float32Array(ELEMENTS)
  for (const { offset, length } of layout.tensors) theta.fill(step, offset, offset + length)
  const m = new Float32Array(ELEMENTS).fill(step)
  const sums = new Int32Array(5).fill(-step)
  return {
    run: 'test',
    step,
    model: { architecture: 'mlp' },
    manifest: {},
    progress: { round: step * 2 },
    config: { model_type: 'test' },
    layout,
    vectors: {
      theta: { type: 'float32', data: new Uint8Array(theta.buffer) },
      m: { type: 'float32', data: new Uint8Array(m.buffer) },
      sums: { type: 'int32', data: new Uint8Array(sums.buffer) },
    },
  }
}
