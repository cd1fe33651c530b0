import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openEngine } from '../engine/index.ts'
import { primitivesOf } from '../ops/index.ts'
import { createGenerator } from '../random.ts'
import { tinyTrainer } from '../trainer/fixtures.ts'
import { gradientsOf, partsOf, passMicrobatch, stageModels, tinyStages, tinyTraining } from './fixtures.ts'
import { assembleStages, StageTrainer } from './index.ts'

const { decoder, mlp, cnn } = stageModels
const training = (batch: number, microbatch: number) => ({ kind: 'training', batch, microbatch }) as const

describe('StageTrainer', async () => {
  const engine = await openEngine()

  for (const [title, model] of Object.entries({ decoder, mlp, cnn })) {
    it(`steps a ${title} as a trainer of the whole model does`, () => {
      for (const optimizer of [
        { name: 'adamw', learningRate: 0.01 },
        { name: 'sgd', learningRate: 0.1, weightDecay: 0.01 },
      ] as const) {
        // Without clipping: a pipeline clips by the norm of each part.
        const options = { ...tinyTraining, optimizer }
        const reference = tinyTrainer(engine, model, options)
        const stages = tinyStages(engine, model, 2, { training: options })
        for (let step = 1; step <= 3; step++) {
          const whole = reference.trainer.step()
          for (const microbatch of [0, 1]) passMicrobatch(stages, step - 1, microbatch)
          for (const place of ['ends', 0, 1] as const) {
            const { learningRate } = stages.trainer.step(place, 0, { step, applied: step, rate: 1 })
            assert.equal(learningRate, whole.learningRate)
          }
          assert.ok(
            stages.vectors.float32('gradient').every((value) => value === 0),
            'the sums are taken up',
          )
        }
        const theta = new Float32Array(reference.trainer.layout.length)
        assembleStages(model, stages.cut, partsOf(stages, 'theta'), theta)
        assert.deepEqual(theta, reference.vectors.float32('theta'))
        stages.trainer.dispose()
        reference.trainer.dispose()
      }
    })

    it(`has the loss and accuracy of the whole ${title} on the validation data`, () => {
      const reference = tinyTrainer(engine, model, tinyTraining)
      const { trainer } = tinyStages(engine, model, 2)
      const parts = Array.from({ length: trainer.validationParts() }, (_, part) => part)
      // Asked for in any order.
      const outcomes = [...parts, ...parts.toReversed()].map((part) => {
        const source = { kind: 'validation', part } as const
        const rows = trainer.embed(source)
        for (const place of [0, 1]) trainer.forward(place, rows)
        return trainer.loss(source)
      })
      const mean = (key: 'loss' | 'right') => {
        const sum = (of: 'loss' | 'right' | 'samples') => outcomes.reduce((total, outcome) => total + outcome[of], 0)
        return sum(key) / sum('samples')
      }
      const expected = reference.trainer.evaluate()
      assert.ok(Math.abs(mean('loss') - expected.loss) < 1e-6)
      if (expected.accuracy !== undefined) assert.equal(mean('right'), expected.accuracy)
      assert.throws(() => trainer.embed({ kind: 'validation', part: parts.length }), { code: 'bad-source' })
      trainer.dispose()
      reference.trainer.dispose()
    })
  }

  it('continues a text with the logits of the whole model', () => {
    const reference = tinyTrainer(engine, decoder, tinyTraining)
    const options = { prompt: 'abc', tokens: 5, temperature: 0, topK: 0, seed: 1 }
    const expected = reference.trainer.generate(options)
    const { trainer } = tinyStages(engine, decoder, 4)
    const tokens = [0, 1, 2]
    for (let i = 0; i < 5; i++) {
      const seen = tokens.slice(-decoder.context)
      const rows = trainer.embed({ kind: 'tokens', tokens: seen })
      assert.equal(rows, 1)
      for (const place of [0, 1, 2, 3]) trainer.forward(place, rows)
      const logits = trainer.logits(seen.length - 1)
      assert.equal(logits.length, decoder.vocabulary)
      tokens.push(logits.indexOf(Math.max(...logits)))
    }
    assert.equal(
      tokens
        .slice(3)
        .map((token) => String.fromCharCode(97 + token))
        .join(''),
      expected,
    )
    assert.throws(() => trainer.embed({ kind: 'tokens', tokens: [] }), { code: 'bad-source' })
    assert.throws(() => trainer.embed({ kind: 'tokens', tokens: new Array(7).fill(0) }), { code: 'bad-source' })
    assert.throws(() => trainer.logits(2 * decoder.context), { code: 'bad-rows' })
    trainer.dispose()
    reference.trainer.dispose()
    const images = tinyStages(engine, mlp, 2).trainer
    assert.throws(() => images.embed({ kind: 'tokens', tokens: [1] }), { code: 'not-a-text-model' })
    images.dispose()
  })

  it('clips each part by its own norm, and bumps the rate of one', () => {
    const options = { ...tinyTraining, clip: 0.05, optimizer: { name: 'sgd', learningRate: 1, momentum: 0 } as const }
    const stages = tinyStages(engine, decoder, 2, { training: options })
    for (const microbatch of [0, 1]) passMicrobatch(stages, 0, microbatch)
    const gradients = gradientsOf(stages).map((gradient) => gradient.slice())
    const before = partsOf(stages, 'theta').map((values) => values.slice())
    for (const [part, place] of (['ends', 0, 1] as const).entries()) {
      const rate = place === 1 ? 1.1 : 1
      const { gradientNorm, learningRate } = stages.trainer.step(place, 0, { step: 1, applied: 1, rate })
      const norm = Math.hypot(...(gradients[part] as Float32Array))
      assert.ok(Math.abs(gradientNorm - norm) < 1e-5 * norm)
      assert.ok(gradientNorm > 0.05)
      assert.ok(Math.abs(learningRate - rate / 5) < 1e-12, `${learningRate} in the first of five steps of warm-up`)
      const moved = Math.hypot(...partsOf(stages, 'theta')[part]!.map((value, i) => value - before[part]![i]!))
      assert.ok(Math.abs(moved - 0.05 * learningRate) < 1e-4 * learningRate, `moved by ${moved}`)
    }
    stages.trainer.dispose()
  })

  it('begins Adam anew where a place holds another stage', () => {
    const stages = tinyStages(engine, decoder, 2)
    const { trainer } = stages
    const advance = (step: number, applied: number) => {
      passMicrobatch(stages, 0, 0)
      for (const place of ['ends', 0, 1] as const) trainer.step(place, 0, { step, applied, rate: 1 })
    }
    advance(1, 1)
    advance(2, 2)
    passMicrobatch(stages, 0, 1)
    trainer.hold(1, 2, true)
    const [ends, kept, cleared] = gradientsOf(stages)
    assert.ok(
      cleared?.every((value) => value === 0) && [ends, kept].every((part) => part?.some((value) => value !== 0)),
    )
    trainer.clear('ends', 0)
    const moments = trainer.moments.map((name) => partsOf(stages, name))
    assert.deepEqual(trainer.moments, ['adam.m', 'adam.v'])
    for (const [, first, second] of moments) {
      assert.ok(second?.every((value) => value === 0))
      assert.ok(
        first?.some((value) => value !== 0),
        'the other place keeps its own',
      )
    }
    const theta = partsOf(stages, 'theta')[2]!.slice()
    trainer.hold(0, 1, false)
    assert.ok(
      moments.every(([, first]) => first?.some((value) => value !== 0)),
      'moments that were brought along stay',
    )
    passMicrobatch(stages, 0, 0)
    const { learningRate } = trainer.step(1, 0, { step: 3, applied: 1, rate: 1.1 })
    const moved = partsOf(stages, 'theta')[2]!.map((value, i) => Math.abs(value - theta[i]!))
    const largest = moved.reduce((most, value) => Math.max(most, value), 0)
    // The first step of Adam is as long as the rate for every value that has a gradient; weight decay adds a little.
    assert.ok(Math.abs(largest / learningRate - 1) < 0.15, `${largest} at rate ${learningRate}`)
    trainer.dispose()
  })

  it('keeps the gradients of two peers with data apart', () => {
    const stages = tinyStages(engine, decoder, 2, { accumulators: 2 })
    passMicrobatch(stages, 0, 0)
    const alone = gradientsOf(stages, 0).map((values) => values.slice())
    passMicrobatch(stages, 9, 1, [0, 1], 1)
    assert.deepEqual(gradientsOf(stages, 0), alone)
    const other = gradientsOf(stages, 1).map((values) => values.slice())
    assert.notDeepEqual(other, alone)
    stages.trainer.clear(0, 0)
    assert.ok(gradientsOf(stages, 0)[1]?.every((value) => value === 0))
    assert.deepEqual(gradientsOf(stages, 0)[2], alone[2])
    assert.deepEqual(gradientsOf(stages, 1), other)
    assert.throws(() => stages.trainer.clear(0, 2), { code: 'bad-accumulator' })
    stages.trainer.dispose()
  })

  it('changes nothing in a step whose gradient is not finite', () => {
    const stages = tinyStages(engine, decoder, 2)
    passMicrobatch(stages, 0, 0)
    const { theta, layout } = stages.trainer.parameters(1)
    const [gradient] = gradientsOf(stages).slice(2) as [Float32Array]
    const { name, offset } = layout.tensors[4]!
    gradient[offset + 3] = Number.NaN
    const before = theta.slice()
    assert.throws(() => stages.trainer.step(1, 0, { step: 8, applied: 8, rate: 1 }), {
      code: 'not-finite',
      message: `step 8: the gradient of ${name} is NaN or infinite`,
    })
    assert.deepEqual(theta, before)
    assert.ok(Number.isNaN(gradient[offset + 3]))
    stages.trainer.dispose()
  })

  it('puts any stage into any place, of an uneven cut as well, and takes them up again over the same vectors', () => {
    const held = new Int32Array(3)
    const stages = tinyStages(engine, decoder, [2, 1, 1])
    const trainer = new StageTrainer({ ...stages.options, held })
    trainer.initial(0, 'ends')
    const forward = (trainer: StageTrainer, path: readonly number[]) => {
      const rows = trainer.embed(training(0, 0))
      for (const place of path) trainer.forward(place, rows)
      return stages.vectors.float32('stream').slice()
    }
    const expected = forward(stages.trainer, [0, 1, 2])
    trainer.initial(3, 0)
    trainer.initial(1, 1)
    trainer.initial(2, 2)
    assert.deepEqual(forward(trainer, [1, 2, 0]), expected)
    trainer.dispose()
    assert.deepEqual([...held], [3, 1, 2])
    const next = new StageTrainer({ ...stages.options, held })
    assert.deepEqual(forward(next, [1, 2, 0]), expected)
    const { layout } = next.parameters(0)
    assert.ok(layout.tensors.every(({ name }) => name.startsWith('model.layers.3.')))
    next.dispose()
    stages.trainer.dispose()
  })

  it('refuses what does not exist', () => {
    const { options } = tinyStages(engine, decoder, 2)
    const trainer = new StageTrainer(options)
    assert.throws(() => trainer.forward(0, 2), { code: 'place-empty' })
    assert.throws(() => trainer.step(1, 0, { step: 1, applied: 1, rate: 1 }), { code: 'place-empty' })
    assert.throws(() => trainer.forward(2, 2), { code: 'bad-place' })
    assert.throws(() => trainer.hold(0, 3, true), { code: 'bad-place' })
    assert.throws(() => trainer.initial(0, 0), { code: 'bad-place' })
    assert.throws(() => trainer.initial(1, 'ends'), { code: 'bad-place' })
    trainer.initial(1, 0)
    for (const rows of [0, 3, 1.5]) assert.throws(() => trainer.forward(0, rows), { code: 'bad-rows' })
    assert.throws(() => trainer.embed(training(0, 2)), { code: 'bad-source' })
    assert.throws(() => trainer.loss({ kind: 'validation', part: 0 }, 0), { code: 'bad-source' })
    assert.throws(() => trainer.backward(4, 0), { code: 'slot-unknown' })
    trainer.embed(training(0, 0), 4)
    assert.throws(() => trainer.embed(training(0, 0), 4), { code: 'slot-taken' })
    for (let slot = 100; slot < 163; slot++) trainer.forward(0, 1, slot)
    assert.throws(() => trainer.forward(0, 1, 163), { code: 'slots-full' })
    trainer.drop(4)
    trainer.drop(4)
    trainer.hold(0, 1, false)
    assert.throws(() => trainer.backward(100, 0), { code: 'slot-unknown' }, 'a place that changes loses its slots')
    trainer.dispose()
  })
})

for (const name of ['native', 'wasm', 'js'] as const) {
  it(`stages on ${name} leave no tensor behind, in whatever order they are called`, async (t) => {
    const engine = await openEngine({ prefer: name }).catch((error: unknown) => {
      if (name !== 'native') throw error
      return undefined
    })
    if (engine === undefined) return t.skip('the native engine is not installed')
    const held = engine.tf.memory().numTensors
    for (const model of [decoder, cnn]) {
      const stages = tinyStages(engine, model, 2)
      const { trainer } = stages
      passMicrobatch(stages, 0, 0)
      const open = new Set<number>()
      const random = createGenerator(7, model.architecture)
      const pick = (bound: number) => Math.floor(random.uniform() * bound)
      const slotOf = () => {
        const slot = pick(12)
        return open.has(slot) ? undefined : slot
      }
      for (let turn = 0; turn < 120; turn++) {
        const slot = slotOf()
        if (slot !== undefined) open.add(slot)
        switch (pick(5)) {
          case 0:
            trainer.embed(training(pick(3), pick(2)), slot)
            break
          case 1:
            // Values from anywhere: what matters is what stays.
            trainer.forward(pick(2), 1 + pick(2), slot)
            break
          case 2:
            if (slot !== undefined) open.delete(slot)
            trainer.loss(training(0, pick(2)), pick(2) === 0 ? undefined : 0)
            break
          case 3:
            if (slot !== undefined) open.delete(slot)
            for (const last of [...open].slice(0, 2)) {
              trainer.backward(last, 0)
              open.delete(last)
            }
            break
          default:
            if (slot !== undefined) open.delete(slot)
            trainer.hold(pick(2), 1 + pick(2), true)
            for (const any of open) trainer.drop(any)
            open.clear()
            trainer.initial(1, 0)
            trainer.initial(2, 1)
        }
        stages.vectors.float32('stream').fill(0.5)
      }
      for (const slot of open) trainer.drop(slot)
      // A place that was filled anew makes its tensors at its first pass.
      passMicrobatch(stages, 0, 0)
      const idle: number = engine.tf.memory().numTensors
      passMicrobatch(stages, 0, 1)
      assert.equal(engine.tf.memory().numTensors, idle)
      trainer.dispose()
      assert.equal(engine.tf.memory().numTensors, held)
    }
  })
}

for (const name of ['native', 'wasm'] as const) {
  it(`stages on ${name} leave no tensor behind when an operation fails halfway`, async (t) => {
    const engine = await openEngine({ prefer: name }).catch((error: unknown) => {
      if (name !== 'native') throw error
      return undefined
    })
    if (engine === undefined) return t.skip('the native engine is not installed')
    const { trainer: unused, options } = tinyStages(engine, decoder, 2)
    unused.dispose()
    const math = primitivesOf(engine)
    const { matMul } = math
    /** Products until one fails. */
    let left = Number.POSITIVE_INFINITY
    math.matMul = (...operands) => {
      if (left-- === 0) throw new Error('out of memory')
      return matMul(...operands)
    }
    const trainer = new StageTrainer(options, math)
    trainer.initial(0, 'ends')
    trainer.initial(1, 0)
    const calls = [
      () => void trainer.embed(training(0, 0), 0),
      () => trainer.forward(0, 2, 1),
      () => void trainer.loss(training(0, 0), 0),
      () => trainer.backward(1, 0),
      () => trainer.backward(0, 0),
    ]
    for (const call of calls) call()
    const idle = engine.tf.memory().numTensors
    let failures = 0
    for (let at = 0; ; at++) {
      left = at
      let done = 0
      assert.throws(
        () => {
          for (const call of calls) {
            call()
            done++
          }
          throw new Error('done')
        },
        (error: Error) => error.message === (done === calls.length ? 'done' : 'out of memory'),
      )
      if (done === calls.length) break
      failures++
      // A pass that failed has closed its slot: what is left are the ones before it.
      for (const slot of [0, 1]) trainer.drop(slot)
      assert.equal(engine.tf.memory().numTensors, idle, `after the failure of product ${at}`)
    }
    assert.ok(failures > 20)
    trainer.dispose()
  })
}
