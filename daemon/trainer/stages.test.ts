import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { SharedVectors } from '../../kernels/index.ts'
import {
  assembleStages,
  cutModel,
  initialize,
  layoutTensors,
  stageVectors,
  trainerVectors,
  writeSafetensors,
} from '../../models/index.ts'
import type { StageLearner } from '../../protocols/index.ts'
import { quietLog } from '../log/index.ts'
import { buildRun, sourceOf } from '../run/index.ts'
import type { DaemonEvent } from '../types.ts'
import { createLearner, type LocalLearner } from './learner.ts'
import type { TrainerSetup } from './messages.ts'
import { add, exit } from './testing/crash-tasks.ts'

const run = buildRun({
  model: { architecture: 'decoder', context: 16, layers: 2, width: 16, heads: 2, hidden: 16 },
  data: { source: 'stories', bytes: 20_000, validation: { rows: 8 } },
  training: { batch: 4, steps: 100 },
})
const cut = cutModel(run.model, { stages: 2, places: 2, microbatches: 2, accumulators: 1 }, 4)
const [ends, first, second] = cut.sizes as [number, number, number]

const opened: LocalLearner[] = []
after(() => Promise.all(opened.map((learner) => learner.close())))

async function open(more: Partial<TrainerSetup> = {}) {
  const vectors = SharedVectors.create({ ...stageVectors(run.training, cut), copy: { type: 'float32', length: 16 } })
  const events: DaemonEvent[] = []
  const setup: TrainerSetup = {
    vectors: vectors.handle,
    model: run.model,
    training: run.training,
    cut,
    trains: true,
    data: sourceOf(run.manifest.data, run.model, 1, 'test', {}),
    seed: 1,
    threads: 1,
    taskModules: [new URL('./testing/crash-tasks.js', import.meta.url).href],
    ...more,
  }
  const modules = { vectors, log: quietLog, onEvent: (event: DaemonEvent) => void events.push(event) }
  const learner = await createLearner(setup, modules, { initialize: true, step: 0 })
  opened.push(learner)
  assert.ok(learner.stages !== undefined)
  return { learner, stages: learner.stages, events, vectors }
}

async function begin(stages: StageLearner): Promise<void> {
  await Promise.all([stages.initial(0, 'ends'), stages.initial(1, 0), stages.initial(2, 1)])
}

/** The parameters of the whole model. */
function whole(vectors: SharedVectors): Float32Array {
  const theta = vectors.float32('theta')
  const parts = [theta.subarray(0, ends), theta.subarray(ends, ends + first), theta.subarray(ends + first)]
  const result = new Float32Array(run.layout.length)
  assembleStages(run.model, cut, parts, result)
  return result
}

/** One microbatch to the loss and back, all calls made at once. */
async function pass(stages: StageLearner, microbatch: number) {
  const source = { kind: 'training', batch: 0, microbatch } as const
  const calls = [
    stages.embed(source, 0),
    stages.forward(0, 2, 1),
    stages.forward(1, 2, 2),
    stages.loss(source, 0),
    stages.backward(2, 0),
    stages.backward(1, 0),
    stages.backward(0, 0),
  ] as const
  const [rows, , , outcome] = await Promise.all(calls)
  assert.equal(rows, 2)
  return outcome
}

describe('stages in the trainer thread', { timeout: 60_000 }, () => {
  it('are done in the order in which they were asked for, and are the whole model', async () => {
    const { stages, learner, vectors } = await open()
    await begin(stages)
    const reference = SharedVectors.create(trainerVectors(run.model, run.training))
    const trainer = await createLearner(
      {
        vectors: reference.handle,
        model: run.model,
        training: { ...run.training, microbatch: 2, clip: 0 },
        trains: true,
        data: sourceOf(run.manifest.data, run.model, 1, 'test', {}),
        seed: 1,
        threads: 1,
        taskModules: [],
      },
      { vectors: reference, log: quietLog, onEvent: () => {} },
      { initialize: true, step: 0 },
    )
    opened.push(trainer)
    assert.equal(trainer.stages, undefined)
    assert.deepEqual(whole(vectors), reference.float32('theta'))
    const outcomes = [await pass(stages, 0), await pass(stages, 1)]
    const loss = await trainer.gradient(0)
    const samples = outcomes.reduce((total, outcome) => total + outcome.samples, 0)
    assert.ok(Math.abs(outcomes.reduce((total, outcome) => total + outcome.loss, 0) / samples - loss) < 1e-6)
    const norm = Math.sqrt(reference.float32('gradient').reduce((total, value) => total + value * value, 0))
    const steps = []
    for (const place of ['ends', 0, 1] as const) {
      steps.push(await stages.step(place, 0, { step: 1, applied: 1, rate: 1 }))
    }
    const together = Math.hypot(...steps.map(({ gradientNorm }) => gradientNorm))
    assert.ok(Math.abs(together - norm) < 1e-4 * norm, `${together}, of the whole model ${norm}`)
    assert.equal(learner.size, vectors.float32('theta').length)
  })

  it('refuse what needs the whole model', async () => {
    const { learner } = await open()
    const wrong = { code: 'no-whole-model' }
    await assert.rejects(learner.train(1), wrong)
    await assert.rejects(learner.evaluate(), wrong)
    await assert.rejects(learner.lossAt('theta', 0), wrong)
    await assert.rejects(learner.gradient(0), wrong)
    await assert.rejects(learner.initial('theta'), wrong)
    await assert.rejects(learner.generate({ prompt: '', tokens: 1, temperature: 0, topK: 0, seed: 0 }), wrong)
    await learner.setStep(7)
    assert.equal(learner.step(), 7)
    assert.equal(await learner.compute(add, { vector: 'copy', amount: 1 }), 16)
  })

  it('keep parameters, sums and places when the thread dies, and lose what waited in slots', async () => {
    const { stages, learner, vectors, events } = await open()
    await begin(stages)
    await pass(stages, 0)
    const gradient = vectors.float32('gradient')
    const before = gradient.slice()
    await stages.embed({ kind: 'training', batch: 0, microbatch: 1 }, 0)
    await stages.forward(0, 2, 1)
    const death = learner.compute(exit, { code: 3 })
    const queued = stages.backward(1, 0)
    await assert.rejects(death, { code: 'trainer-crashed' })
    await assert.rejects(queued, { code: 'slot-unknown' })
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['trainer-crashed', 'trainer-restarted'],
    )
    assert.deepEqual(gradient, before)
    await stages.drop(1)
    await pass(stages, 1)
    const later = gradient.slice()
    await stages.clear('ends', 0)
    await Promise.all([stages.clear(0, 0), stages.clear(1, 0)])
    assert.ok(gradient.every((value) => value === 0))
    for (const microbatch of [0, 1]) await pass(stages, microbatch)
    assert.deepEqual(gradient, later, 'the sum went on where it was')
  })

  it('begin with what the file of weights holds of them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'starling-stages-'))
    after(() => rm(folder, { recursive: true, force: true }))
    const theta = new Float32Array(run.layout.length)
    initialize(run.layout, run.model, 99, theta)
    const { header, views } = writeSafetensors(layoutTensors(run.layout, theta))
    const path = join(folder, 'start.safetensors')
    await writeFile(path, Buffer.concat([header, ...views]))
    const { stages, vectors } = await open({ weights: { path, name: 'start.safetensors' } })
    await begin(stages)
    assert.deepEqual(whole(vectors), theta)
    assert.equal(second, first)
  })

  it('give back every tensor', async () => {
    const { stages, learner } = await open()
    await begin(stages)
    await pass(stages, 0)
    const before = await learner.tensors()
    for (let round = 0; round < 10; round++) await pass(stages, round % 2)
    await stages.embed({ kind: 'validation', part: 0 }, 5)
    assert.ok((await learner.tensors()) > before)
    await stages.drop(5)
    assert.equal(await learner.tensors(), before)
    assert.equal(await stages.validationParts(), 4)
  })
})
