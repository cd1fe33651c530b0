import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { openEngine } from '../engine/index.ts'
import { createGenerator, fillBell } from '../random.ts'
import type { Engine } from '../types.ts'
import { tinyModels, tinyTrainer } from './fixtures.ts'

/**
 * Step of the central difference. The loss is single precision, so a much smaller one drowns in rounding; with ReLU and max pooling a
 * larger one steps over kinks.
 */
const step = (architecture: string) => (architecture === 'decoder' ? 0.02 : 0.002)

for (const name of ['native', 'wasm', 'js'] as const) {
  describe(`gradients on ${name}`, () => {
    let engine: Engine | undefined
    before(async () => {
      // The native package is optional; on a machine without it the other engines are what is tested.
      engine = await openEngine({ prefer: name }).catch((error: unknown) => {
        if (name !== 'native') throw error
        return undefined
      })
    })
    for (const [title, model] of Object.entries(tinyModels)) {
      it(`of a ${title} agree with finite differences for every tensor`, (t) => {
        if (engine === undefined) return t.skip('the native engine is not installed')
        const { trainer, vectors } = tinyTrainer(engine, model)
        const theta = vectors.float32('theta')
        const candidate = vectors.float32('candidate')
        // Far from the start, so that no tensor's gradient is vanishingly small.
        const noise = new Float32Array(theta.length)
        fillBell(noise, 0.3, createGenerator(3, 'noise'))
        for (const { offset, length } of trainer.layout.tensors) {
          for (let i = offset; i < offset + length; i++) theta[i] = (theta[i] as number) + (noise[i] as number)
        }
        trainer.gradient(5)
        const gradient = vectors.float32('gradient')
        for (const { name: tensor, offset, length } of trainer.layout.tensors) {
          const slice = Float64Array.from(gradient.subarray(offset, offset + length))
          const norm = Math.hypot(...slice)
          assert.ok(norm > 1e-4, `${tensor}: gradient is nearly zero (${norm})`)
          const random = new Float32Array(length)
          fillBell(random, 1, createGenerator(4, tensor))
          const size = Math.hypot(...random)
          // Along the gradient itself, where the slope is its norm, and along a random direction.
          const directions = [slice.map((value) => value / norm), Float64Array.from(random, (value) => value / size)]
          for (const direction of directions) {
            const expected = direction.reduce((total, value, i) => total + value * (slice[i] as number), 0)
            const lossAt = (along: number) => {
              candidate.set(theta)
              direction.forEach((value, i) => {
                candidate[offset + i] = (theta[offset + i] as number) + along * value
              })
              return trainer.lossAt('candidate', 5)
            }
            const distance = step(model.architecture)
            const slope = (lossAt(distance) - lossAt(-distance)) / (2 * distance)
            const error = Math.abs(slope - expected)
            assert.ok(error < 0.02 * norm + 2e-4, `${tensor}: gradient ${expected}, difference ${slope}, norm ${norm}`)
          }
        }
        trainer.dispose()
      })

      it(`gives back every tensor of a ${title} when disposed of`, (t) => {
        if (engine === undefined) return t.skip('the native engine is not installed')
        const held = engine.tf.memory().numTensors
        const { trainer } = tinyTrainer(engine, model, { batch: 5, microbatch: 2 })
        trainer.step()
        trainer.evaluate()
        trainer.lossAt('candidate', 0)
        if (model.architecture === 'decoder') {
          trainer.generate({ prompt: 'a', tokens: 2, temperature: 1, topK: 2, seed: 1 })
        }
        trainer.dispose()
        assert.equal(engine.tf.memory().numTensors, held)
      })
    }
  })
}

describe('engines', () => {
  it('give the same gradient to rounding', async (t) => {
    const native = await openEngine({ prefer: 'native' }).catch(() => undefined)
    if (native === undefined) return t.skip('the native engine is not installed')
    for (const [title, model] of Object.entries(tinyModels)) {
      const gradients: Float32Array[] = []
      for (const name of ['native', 'wasm', 'js'] as const) {
        const { trainer, vectors } = tinyTrainer(await openEngine({ prefer: name }), model)
        trainer.gradient(0)
        gradients.push(vectors.float32('gradient').slice())
        trainer.dispose()
      }
      const [first, ...others] = gradients as [Float32Array, ...Float32Array[]]
      for (const other of others) {
        first.forEach((value, i) => {
          assert.ok(Math.abs(value - (other[i] as number)) < 1e-5 + 1e-4 * Math.abs(value), `${title}, element ${i}`)
        })
      }
    }
  })
})
