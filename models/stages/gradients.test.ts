import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { type DecoderConfig, layoutOf, type ModelConfig } from '../architectures/index.ts'
import { openEngine } from '../engine/index.ts'
import { tinyTrainer } from '../trainer/fixtures.ts'
import type { Engine } from '../types.ts'
import {
  gradientsOf,
  partsOf,
  passMicrobatch,
  stageModels,
  type TinyStages,
  tinyStages,
  tinyTraining,
} from './fixtures.ts'
import { assembleStages } from './index.ts'

const cuts: [keyof typeof stageModels, (number | number[])[]][] = [
  ['decoder', [1, 2, 4, [1, 3], [2, 1, 1]]],
  ['decoder with grouped keys and tied embedding', [1, 2, 3]],
  ['cnn', [1, 2]],
  ['mlp', [1, 2, 3]],
]

/** The parts of a vector as the whole model has it. */
function whole(model: ModelConfig, stages: TinyStages, parts: readonly Float32Array[]): Float32Array {
  const vector = new Float32Array(layoutOf(model).length)
  assembleStages(model, stages.cut, parts, vector)
  return vector
}

function assertSame(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length)
  // Not deepEqual: 0 and -0 are the same gradient.
  const at = actual.findIndex((value, i) => value !== expected[i])
  assert.equal(at, -1, `element ${at}: ${actual[at]}, expected ${expected[at]}`)
}

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length)
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  actual.forEach((value, i) => {
    const error = Math.abs(value - (expected[i] as number))
    assert.ok(error <= 1e-5 * largest, `element ${i}: ${value}, expected ${expected[i]}`)
  })
}

/** A decoder of some of the layers of another, in a given order. */
function composed(model: DecoderConfig, theta: Float32Array, order: readonly number[]) {
  const other: DecoderConfig = { ...model, layers: order.length }
  const from = layoutOf(model)
  const to = layoutOf(other)
  const sourceOf = (name: string) =>
    name.replace(/layers\.(\d+)/, (_, index: string) => `layers.${order[Number(index)] as number}`)
  const values = new Float32Array(to.length)
  const ranges = to.tensors.map(({ name, offset, length }) => {
    const source = from.tensors.find((tensor) => tensor.name === sourceOf(name))
    assert.ok(source !== undefined && source.length === length)
    values.set(theta.subarray(source.offset, source.offset + length), offset)
    return { to: offset, from: source.offset, length }
  })
  /** A vector of the composed model at the places of the full one; layers left out are 0. */
  const back = (vector: Float32Array) => {
    const result = new Float32Array(from.length)
    for (const { to, from, length } of ranges) result.set(vector.subarray(to, to + length), from)
    return result
  }
  return { model: other, theta: values, back }
}

for (const name of ['native', 'wasm', 'js'] as const) {
  describe(`stages on ${name}`, () => {
    let engine: Engine | undefined
    before(async () => {
      // The native package is optional; on a machine without it the other engines are what is tested.
      engine = await openEngine({ prefer: name }).catch((error: unknown) => {
        if (name !== 'native') throw error
        return undefined
      })
    })

    for (const [title, variants] of cuts) {
      for (const variant of variants) {
        it(`have the gradient of the whole ${title} when it is cut into ${JSON.stringify(variant)}`, (t) => {
          if (engine === undefined) return t.skip('the native engine is not installed')
          const model: ModelConfig = stageModels[title]
          const reference = tinyTrainer(engine, model, tinyTraining)
          const loss = reference.trainer.gradient(5)
          const gradient = reference.vectors.float32('gradient')

          const stages = tinyStages(engine, model, variant)
          assertSame(whole(model, stages, partsOf(stages, 'theta')), reference.vectors.float32('theta'))
          const losses = [0, 1].map((microbatch) => passMicrobatch(stages, 5, microbatch))
          const samples = model.architecture === 'decoder' ? 4 * 6 : 4
          assert.equal(((losses[0] as number) + (losses[1] as number)) / samples, loss)
          assertSame(whole(model, stages, gradientsOf(stages)), gradient)
          stages.trainer.dispose()
          reference.trainer.dispose()
        })
      }
    }

    it('add up the same gradient when microbatches overtake each other', (t) => {
      if (engine === undefined) return t.skip('the native engine is not installed')
      const model = stageModels.decoder
      const reference = tinyTrainer(engine, model, tinyTraining)
      reference.trainer.gradient(5)
      const stages = tinyStages(engine, model, 2)
      const { trainer, vectors } = stages
      const stream = vectors.float32('stream')
      const kept: Float32Array[] = []
      /** One call of one microbatch, as if its stream came from elsewhere. */
      const hop = (microbatch: number, call: (slot: number) => void, slot: number) => {
        stream.set(kept[microbatch] ?? new Float32Array(stream.length))
        call(10 * microbatch + slot)
        kept[microbatch] = stream.slice()
      }
      const source = (microbatch: number) => ({ kind: 'training', batch: 5, microbatch }) as const
      for (const m of [0, 1]) hop(m, (slot) => trainer.embed(source(m), slot), 0)
      for (const m of [1, 0]) hop(m, (slot) => trainer.forward(0, 2, slot), 1)
      hop(1, (slot) => trainer.forward(1, 2, slot), 2)
      hop(1, () => trainer.loss(source(1), 0), 3)
      hop(1, (slot) => trainer.backward(slot, 0), 2)
      hop(0, (slot) => trainer.forward(1, 2, slot), 2)
      hop(1, (slot) => trainer.backward(slot, 0), 1)
      hop(0, () => trainer.loss(source(0), 0), 3)
      for (const slot of [2, 1, 0]) hop(0, (at) => trainer.backward(at, 0), slot)
      hop(1, (slot) => trainer.backward(slot, 0), 0)
      assertClose(whole(model, stages, gradientsOf(stages)), reference.vectors.float32('gradient'))
      trainer.dispose()
      reference.trainer.dispose()
    })

    for (const [what, path] of [
      ['swapped', [1, 0, 2, 3]],
      ['skipped', [0, 3]],
      ['swapped and skipped', [2, 0]],
    ] as const) {
      it(`that are ${what} have the gradient of a network composed so`, (t) => {
        if (engine === undefined) return t.skip('the native engine is not installed')
        const model = stageModels.decoder
        const stages = tinyStages(engine, model, 4)
        const other = composed(model, whole(model, stages, partsOf(stages, 'theta')), path)
        const reference = tinyTrainer(engine, other.model, tinyTraining)
        reference.vectors.float32('theta').set(other.theta)
        reference.trainer.gradient(5)
        for (const microbatch of [0, 1]) passMicrobatch(stages, 5, microbatch, path)
        const gradients = gradientsOf(stages)
        assertSame(whole(model, stages, gradients), other.back(reference.vectors.float32('gradient')))
        for (const place of [0, 1, 2, 3].filter((place) => !(path as readonly number[]).includes(place))) {
          assert.ok(
            gradients[place + 1]?.every((value) => value === 0),
            'a stage that is left out has no gradient',
          )
        }
        stages.trainer.dispose()
        reference.trainer.dispose()
      })
    }
  })
}
