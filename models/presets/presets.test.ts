import assert from 'node:assert/strict'
import test from 'node:test'
import * as z from 'zod'
import { layoutOf } from '../architectures/index.ts'
import { type DataFacts, dataFacts, dataSchema } from '../data/index.ts'
import { ModelError } from '../errors.ts'
import {
  modelSchema,
  type PresetName,
  presetNames,
  resolveModel,
  resolveTraining,
  sentences,
  trainingSchema,
} from './index.ts'

const text: DataFacts = { kind: 'text', vocabulary: 256 }
const digits: DataFacts = { kind: 'image', height: 28, width: 28, channels: 1, classes: 10 }
const factsFor = (preset: PresetName) => (preset.startsWith('gpt') ? text : digits)

/** The sentences of a parse that must fail. */
function faults(schema: z.ZodType, value: unknown): string[] {
  const result = schema.safeParse(value)
  assert.ok(!result.success, `accepted ${JSON.stringify(value)}`)
  return sentences(result.error.issues, 'run')
}

test('presets have the sizes they are known by', () => {
  const millions: Record<PresetName, number> = {
    'gpt-nano': 0.8,
    'gpt-micro': 5,
    'gpt-small': 25,
    'digits-cnn': 0.1,
    'digits-mlp': 0.1,
  }
  for (const preset of presetNames) {
    const { parameters } = layoutOf(resolveModel({ preset }, factsFor(preset)))
    const wanted = millions[preset] * 1e6
    assert.ok(Math.abs(parameters - wanted) < 0.1 * wanted, `${preset} has ${parameters} parameters`)
  }
})

test('a preset may be changed key by key', () => {
  const model = resolveModel(modelSchema.parse({ preset: 'gpt-nano', layers: 2, tied: true }), text)
  assert.deepEqual(model, {
    architecture: 'decoder',
    vocabulary: 256,
    context: 64,
    layers: 2,
    width: 128,
    heads: 4,
    hidden: 320,
    tied: true,
  })
})

test('an architecture may be given with all its numbers', () => {
  const spec = modelSchema.parse({ architecture: 'mlp', hidden: [32] })
  assert.deepEqual(resolveModel(spec, digits), {
    architecture: 'mlp',
    hidden: [32],
    height: 28,
    width: 28,
    channels: 1,
    classes: 10,
  })
})

test('a wrong model is named by key, value and what is allowed', () => {
  const model = (value: unknown) => faults(z.strictObject({ model: modelSchema }), { model: value })
  assert.deepEqual(model({ preset: 'gpt-nan' }), [
    'run.model.preset must be gpt-nano, gpt-micro, gpt-small, digits-cnn or digits-mlp, not "gpt-nan"',
  ])
  assert.match(
    model({ preset: 'gpt-nano', widht: 3 })[0]!,
    /^run\.model has no key "widht"; allowed are preset, context, layers/,
  )
  assert.deepEqual(model({ preset: 'gpt-nano', layers: 0 }), [
    'run.model.layers must be a whole number from 1 to 256, not 0',
  ])
  assert.deepEqual(model({ preset: 'gpt-nano', width: 130 }), [
    'run.model.width must be a multiple of 2 x heads = 8, not 130',
  ])
  assert.deepEqual(model({ preset: 'gpt-nano', width: 40 }), ['run.model.width must be a multiple of 16, not 40'])
  assert.deepEqual(model({ preset: 'gpt-nano', keyValueHeads: 3 }), [
    'run.model.keyValueHeads must divide heads = 4, which 3 does not',
  ])
  assert.deepEqual(model({ preset: 'gpt-nano', architecture: 'decoder' }), [
    'run.model has both preset and architecture; use one of them',
  ])
  assert.match(model('gpt-nano')[0]!, /^run\.model must be a table with preset .* not "gpt-nano"$/)
  assert.match(model({})[0]!, /^run\.model needs preset/)
  assert.match(model({ architecture: 'cnn', filters: [], hidden: 3 })[0]!, /filters must name at least one size/)
})

test('a model that cannot read the data is refused in a sentence', () => {
  const wrong = (preset: PresetName, facts: DataFacts) => {
    assert.throws(
      () => resolveModel({ preset }, facts),
      (error) => error instanceof ModelError && error.code === 'model-data-mismatch' && error.message.includes(preset),
    )
  }
  wrong('gpt-nano', digits)
  wrong('digits-cnn', text)
  assert.throws(
    () => resolveModel({ preset: 'digits-cnn' }, { ...digits, height: 3 }),
    /at least 4 x 4; these are 3 x 28/,
  )
})

test('training needs nothing said, and keeps what is said', () => {
  for (const preset of presetNames) {
    const training = resolveTraining({}, resolveModel({ preset }, factsFor(preset)))
    assert.ok(training.microbatch <= training.batch && training.warmup < training.steps && training.evaluateEvery >= 1)
  }
  const model = resolveModel({ preset: 'gpt-nano' }, text)
  const training = resolveTraining(
    trainingSchema.parse({ optimizer: 'sgd', momentum: 0.5, steps: 10, warmup: 50, batch: 4, finalLearningRate: 0.2 }),
    model,
  )
  assert.equal(training.optimizer.name, 'sgd')
  assert.deepEqual(
    [training.steps, training.warmup, training.batch, training.microbatch, training.finalRate],
    [10, 10, 4, 4, 0.2],
  )
})

test('wrong training is named by key, value and what is allowed', () => {
  assert.deepEqual(faults(trainingSchema, { learningRate: 0 }), [
    'run.learningRate must be a number above 0 and at most 100, not 0',
  ])
  assert.deepEqual(faults(trainingSchema, { optimizer: 'adam' }), ['run.optimizer must be adamw or sgd, not "adam"'])
  assert.deepEqual(faults(trainingSchema, { momentum: 0.5 }), [
    'run.momentum has no meaning with optimizer adamw; leave it out',
  ])
  assert.match(faults(trainingSchema, { step: 5 })[0]!, /^run has no key "step"; allowed are batch, microbatch, steps/)
  assert.deepEqual(faults(trainingSchema, { steps: '5' }), [
    'run.steps must be a whole number from 1 to 1000000000, not "5"',
  ])
})

test('data have defaults, and wrong data are named', () => {
  const stories = dataSchema.parse({ source: 'stories' })
  assert.deepEqual(stories.shard, { rule: 'shuffled' })
  assert.equal(stories.validation.rows, 64)
  assert.deepEqual(dataFacts(stories), text)
  assert.deepEqual(dataFacts(dataSchema.parse({ source: 'digits' })), digits)
  assert.deepEqual(faults(dataSchema, { source: 'storie' }), [
    'run.source must be stories, digits, text or images, not "storie"',
  ])
  assert.deepEqual(faults(dataSchema, { source: 'digits', shard: { rule: 'x' } }), [
    'run.shard.rule must be shuffled, same, disjoint or dirichlet, not "x"',
  ])
  assert.match(
    faults(dataSchema, { source: 'text', file: { name: 'a/b', root: 'f'.repeat(64), size: 3 } })[0]!,
    /without folders, not "a\/b"/,
  )
  assert.match(
    faults(dataSchema, { source: 'text', file: { name: 'b', root: 'F'.repeat(64), size: 3 } })[0]!,
    /SHA-256/,
  )
  assert.match(faults(dataSchema, { source: 'stories', file: {} })[0]!, /has no key "file"/)
})

test('what is parsed parses to itself, so a manifest can hold it', () => {
  const parsed = dataSchema.parse({ source: 'stories', shard: { rule: 'dirichlet' } })
  assert.deepEqual(dataSchema.parse(JSON.parse(JSON.stringify(parsed))), parsed)
})
