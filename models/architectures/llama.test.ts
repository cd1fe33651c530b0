import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { openEngine } from '../engine/index.ts'
import { Graph, Parameters, primitivesOf } from '../ops/index.ts'
import type { TrainingConfig } from '../optimizers/index.ts'
import { createTrainer, trainerVectors } from '../trainer/index.ts'
import type { Batch, Dataset } from '../types.ts'
import { type DecoderConfig, forwardModel, layoutOf } from './index.ts'

interface Fixture {
  inputs: number[]
  targets: number[]
  loss: number
  logits: string
  parameters: Record<string, string>
  gradients: Record<string, string>
}

// The test runs from dist/, the fixture lies in the sources.
const path = new URL('../../../models/architectures/fixtures/llama-tiny.json', import.meta.url)
const fixture = JSON.parse(readFileSync(path, 'utf8')) as Fixture
const decode = (text: string) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer)

const model: DecoderConfig = {
  architecture: 'decoder',
  vocabulary: 29,
  context: 12,
  layers: 2,
  width: 16,
  heads: 4,
  keyValueHeads: 2,
  hidden: 24,
}
const batch: Batch = {
  kind: 'text',
  rows: 3,
  context: 12,
  inputs: Int32Array.from(fixture.inputs),
  targets: Int32Array.from(fixture.targets),
}
const dataset: Dataset = { kind: 'text', classes: 29, batch: () => batch, validation: () => [batch] }
const training: TrainingConfig = { batch: 3, steps: 1, optimizer: { name: 'sgd', learningRate: 0.1 } }

describe('the decoder against LlamaForCausalLM of transformers', async () => {
  const engine = await openEngine()
  const layout = layoutOf(model)
  const vectors = SharedVectors.create(trainerVectors(model, training))
  const theta = vectors.float32('theta')

  it('has the same tensors by name and size', () => {
    const ours = layout.tensors.map(({ name, length }) => [name, length])
    const theirs = Object.entries(fixture.parameters).map(([name, text]) => [name, decode(text).length])
    assert.deepEqual(new Map(ours as [string, number][]), new Map(theirs as [string, number][]))
  })

  for (const { name, offset } of layout.tensors) theta.set(decode(fixture.parameters[name] as string), offset)

  it('gives the same logits to 1e-4', () => {
    const math = primitivesOf(engine)
    const parameters = new Parameters(math, layout, theta)
    const graph = new Graph(math, parameters, { training: false })
    const logits = forwardModel(graph, model, batch)
    assertClose(math.read(logits.tensor), decode(fixture.logits), 1e-4)
    graph.dispose()
    parameters.dispose()
    math.dispose()
  })

  it('gives the same loss and gradients to 1e-4', () => {
    const trainer = createTrainer({ engine, kernels: loadKernels(vectors), vectors, model, training, dataset })
    assert.ok(Math.abs(trainer.gradient(0) - fixture.loss) < 1e-4)
    const gradient = vectors.float32('gradient')
    for (const { name, offset, length } of layout.tensors) {
      assertClose(gradient.subarray(offset, offset + length), decode(fixture.gradients[name] as string), 1e-4, name)
    }
    trainer.dispose()
  })
})

function assertClose(actual: Float32Array, expected: Float32Array, tolerance: number, name = ''): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((value, i) => {
    assert.ok(
      Math.abs(value - (expected[i] as number)) <= tolerance,
      `${name}[${i}]: ${value}, expected ${expected[i]}`,
    )
  })
}
