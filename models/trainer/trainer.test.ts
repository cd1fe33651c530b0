import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SharedVectors, twins } from '../../kernels/index.ts'
import { initialize, layoutOf } from '../architectures/index.ts'
import { openEngine } from '../engine/index.ts'
import { ModelError } from '../errors.ts'
import type { OptimizerConfig } from '../optimizers/index.ts'
import { tinyDataset, tinyModels, tinyTrainer } from './fixtures.ts'
import { createTrainer, trainerVectors } from './index.ts'

const adamw: OptimizerConfig = { name: 'adamw', learningRate: 0.01 }
const sgd: OptimizerConfig = { name: 'sgd', learningRate: 0.1 }
const decoder = tinyModels.decoder!

describe('trainer', async () => {
  const engine = await openEngine()

  for (const [title, model] of Object.entries(tinyModels)) {
    for (const optimizer of [adamw, sgd]) {
      it(`teaches a ${title} its rule with ${optimizer.name}`, () => {
        const { trainer } = tinyTrainer(engine, model, { batch: 16, steps: 150, optimizer })
        const before = trainer.evaluate().loss
        let report = trainer.step()
        assert.equal(report.step, 1)
        assert.ok(report.learningRate < optimizer.learningRate, 'warm-up starts below the peak')
        while (trainer.stepNumber < 150) report = trainer.step()
        const after = trainer.evaluate()
        assert.ok(after.loss < 0.87 * before, `loss fell only from ${before} to ${after.loss}`)
        assert.equal(after.accuracy === undefined, model.architecture === 'decoder')
        assert.ok(Math.abs(report.learningRate - 0.1 * optimizer.learningRate) < 0.01 * optimizer.learningRate)
        trainer.dispose()
      })
    }

    it(`gives a ${title} the same gradient in parts as at once`, () => {
      const whole = tinyTrainer(engine, model, { batch: 11, microbatch: 11 })
      // 11 = 4 + 4 + 3: the last part is smaller.
      const parts = tinyTrainer(engine, model, { batch: 11, microbatch: 4 })
      const losses = [whole, parts].map(({ trainer }) => trainer.gradient(3)) as [number, number]
      assert.ok(Math.abs(losses[0] - losses[1]) < 1e-5)
      const gradient = parts.vectors.float32('gradient')
      whole.vectors.float32('gradient').forEach((value, i) => {
        assert.ok(Math.abs(value - (gradient[i] as number)) < 1e-5, `element ${i}: ${value}, in parts ${gradient[i]}`)
      })
      for (const { trainer } of [whole, parts]) trainer.dispose()
    })
  }

  it('takes a batch of one row, and one that is larger than the default part', () => {
    for (const batch of [1, 17, 40]) {
      const { trainer } = tinyTrainer(engine, decoder, { batch })
      assert.equal(trainer.step().samples, batch * 6)
      trainer.dispose()
    }
  })

  it('repeats itself exactly from the same seed and step', () => {
    const losses = [0, 1].map(() => {
      const { trainer } = tinyTrainer(engine, decoder)
      const seen = Array.from({ length: 5 }, () => trainer.step().loss)
      trainer.dispose()
      return seen
    })
    assert.deepEqual(losses[0], losses[1])
  })

  it('sees what others write into theta, and evaluates other vectors without touching it', () => {
    const { trainer, vectors } = tinyTrainer(engine, decoder)
    const theta = vectors.float32('theta')
    const start = theta.slice()
    trainer.step()
    const trained = trainer.lossAt('theta', 0)
    vectors.float32('candidate').set(start)
    const first = trainer.lossAt('candidate', 0)
    assert.notEqual(trained, first)
    theta.set(start)
    assert.equal(trainer.lossAt('theta', 0), first)
    assert.deepEqual(theta, start)
    trainer.dispose()
  })

  it('leaves no tensor behind and holds its memory over 2,000 steps', () => {
    const model = tinyModels.mlp!
    const { trainer } = tinyTrainer(engine, model, { steps: 2000 })
    for (let i = 0; i < 200; i++) trainer.step()
    const held = () => ({ tensors: engine.tf.memory().numTensors, bytes: engine.tf.memory().numBytes })
    const before = held()
    const rss = process.memoryUsage.rss()
    while (trainer.stepNumber < 2000) trainer.step()
    assert.deepEqual(held(), before)
    // A tensor of 100 bytes leaked by each of its forty operations would be 7 MB; the heap may grow by what the collector pleases.
    assert.ok(process.memoryUsage.rss() - rss < 64 * 2 ** 20)
    const others = engine.tf.memory().numTensors
    trainer.dispose()
    assert.ok(engine.tf.memory().numTensors < others)
  })

  it('evaluates the whole validation split, or its first rows', () => {
    const { trainer } = tinyTrainer(engine, decoder, { batch: 4 })
    assert.equal(trainer.evaluate().samples, (4 + 2) * 6)
    assert.equal(trainer.evaluate('theta', 5).samples, 5 * 6)
    trainer.dispose()
  })

  it('refuses a loss that is not a number and keeps theta', () => {
    const { trainer, vectors } = tinyTrainer(engine, decoder)
    trainer.step()
    const theta = vectors.float32('theta')
    theta[trainer.layout.tensors.at(-1)!.offset] = Number.NaN
    const kept = theta.slice()
    assert.throws(
      () => trainer.step(),
      (error: unknown) => {
        assert.ok(error instanceof ModelError)
        assert.equal(error.code, 'not-finite')
        assert.deepEqual(error.data, { step: 2, tensor: 'loss' })
        return true
      },
    )
    assert.deepEqual(theta, kept)
    assert.equal(trainer.stepNumber, 1)
    trainer.dispose()
  })

  it('names the tensor whose gradient is infinite', () => {
    const { trainer, vectors } = tinyTrainer(engine, tinyModels.mlp!)
    // Activations and loss stay finite; the gradient of the middle layer is a product of two numbers near 1e30.
    const factors = [1e30, 1e-30, 1e30]
    factors.forEach((factor, index) => {
      const { offset, length } = trainer.layout.tensors.find(({ name }) => name === `layers.${index}.weight`)!
      const weights = vectors.float32('theta').subarray(offset, offset + length)
      weights.forEach((value, i) => {
        weights[i] = Math.abs(value) * factor * (index === 2 && i % 2 === 1 ? -1 : 1)
      })
    })
    assert.throws(() => trainer.step(), {
      code: 'not-finite',
      message: 'step 1: the gradient of layers.1.weight is NaN or infinite',
    })
    assert.equal(trainer.stepNumber, 0)
    trainer.dispose()
  })

  it('refuses vectors of another model', () => {
    const training = { batch: 4, steps: 10, optimizer: adamw }
    const vectors = SharedVectors.create(trainerVectors(decoder, training))
    const model = tinyModels.mlp!
    const options = { engine, kernels: twins, vectors, model, training, dataset: tinyDataset(model) }
    assert.throws(() => createTrainer(options), { code: 'vector-length' })
  })

  it('goes on from another step', () => {
    const { trainer } = tinyTrainer(engine, decoder, { steps: 100 })
    trainer.stepNumber = 99
    const report = trainer.step()
    assert.equal(report.step, 100)
    assert.ok(report.learningRate < 0.0011)
    trainer.dispose()
  })
})

describe('decoder generation', async () => {
  const engine = await openEngine()
  const { trainer } = tinyTrainer(engine, decoder, { batch: 16, steps: 200 })
  while (trainer.stepNumber < 200) trainer.step()
  const options = { prompt: 'abc', tokens: 12, temperature: 0, topK: 0, seed: 1 }

  it('continues the rule it learned beyond its context', () => {
    assert.equal(trainer.generate(options), 'defghijkabcd')
  })

  it('depends on the seed alone', () => {
    const hot = { ...options, temperature: 3 }
    assert.equal(trainer.generate(hot), trainer.generate(hot))
    assert.notEqual(trainer.generate(hot), trainer.generate({ ...hot, seed: 2 }))
  })

  it('takes the likeliest token with top-k 1, whatever the temperature', () => {
    assert.equal(trainer.generate({ ...options, temperature: 5, topK: 1 }), trainer.generate(options))
  })

  it('refuses impossible options and models without text', () => {
    assert.throws(() => trainer.generate({ ...options, temperature: -1 }), { code: 'bad-generation' })
    const { trainer: classifier } = tinyTrainer(engine, tinyModels.mlp!)
    assert.throws(() => classifier.generate(options), { code: 'not-a-text-model' })
  })
})

describe('layout and start', () => {
  it('puts every tensor on a 64-byte boundary and leaves the padding zero', () => {
    for (const model of Object.values(tinyModels)) {
      const layout = layoutOf(model)
      const theta = new Float32Array(layout.length).fill(7)
      initialize(layout, model, 1, theta)
      let end = 0
      for (const { offset, length } of layout.tensors) {
        assert.equal(offset % 16, 0)
        assert.ok(theta.subarray(end, offset).every((value) => value === 0))
        end = offset + length
      }
      assert.equal(
        layout.parameters,
        layout.tensors.reduce((total, { length }) => total + length, 0),
      )
    }
  })

  it('refuses impossible models by key, value and what is allowed', () => {
    assert.throws(() => layoutOf({ ...decoder, width: 20 } as never), {
      code: 'bad-model',
      message: 'model.width is 20; it must be a multiple of 16 above 0',
    })
    assert.throws(() => layoutOf({ ...decoder, keyValueHeads: 3 } as never), { code: 'bad-model' })
  })
})
