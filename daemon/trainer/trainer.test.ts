import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { SharedVectors } from '../../kernels/index.ts'
import { layoutTensors, trainerVectors, writeSafetensors } from '../../models/index.ts'
import type { StepSummary } from '../../protocols/index.ts'
import { quietLog } from '../log/index.ts'
import { buildRun, sourceOf } from '../run/index.ts'
import type { DaemonEvent } from '../types.ts'
import { createLearner, type LocalLearner } from './learner.ts'
import type { TrainerSetup } from './messages.ts'
import { add, exit, throwLater } from './testing/crash-tasks.ts'

const run = buildRun({
  model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 16 },
  data: { source: 'stories', bytes: 20_000, validation: { rows: 8 } },
  training: { batch: 4, steps: 4_000 },
})

const opened: LocalLearner[] = []
after(() => Promise.all(opened.map((learner) => learner.close())))

async function open({
  trains = true,
  ...more
}: Partial<TrainerSetup> = {}): Promise<{ learner: LocalLearner; events: DaemonEvent[]; vectors: SharedVectors }> {
  const vectors = SharedVectors.create({
    ...trainerVectors(run.model, run.training, trains),
    copy: { type: 'float32', length: run.layout.length },
  })
  const events: DaemonEvent[] = []
  const learner = await createLearner(
    {
      vectors: vectors.handle,
      model: run.model,
      training: run.training,
      trains,
      data: sourceOf(run.manifest.data, run.model, 1, 'test', {}),
      seed: 1,
      threads: 1,
      taskModules: [new URL('./testing/crash-tasks.js', import.meta.url).href],
      ...more,
    },
    { vectors, log: quietLog, onEvent: (event) => events.push(event) },
    { initialize: true, step: 0 },
  )
  opened.push(learner)
  return { learner, events, vectors }
}

describe('trainer thread', { timeout: 60_000 }, () => {
  it('trains, evaluates, answers between two steps, and stops between two steps', async () => {
    const { learner, vectors } = await open()
    const before = await learner.evaluate()
    const steps: StepSummary[] = []
    await learner.train(60, { onStep: (step) => steps.push(step) })
    assert.equal(learner.step(), 60)
    assert.deepEqual(
      steps.map(({ step }) => step),
      Array.from({ length: 60 }, (_, index) => index + 1),
    )
    assert.ok((await learner.evaluate()).loss < before.loss)

    const stop = new AbortController()
    const done = learner.train(100_000, { signal: stop.signal })
    assert.equal(await learner.compute(add, { vector: 'copy', amount: 2 }), run.layout.length)
    assert.equal(vectors.float32('copy')[5], 2)
    stop.abort()
    await done
    const reached = learner.step()
    assert.ok(reached >= 60 && reached < 3_000)

    await learner.setStep(500)
    assert.equal(learner.step(), 500)
    assert.equal(
      typeof (await learner.generate({ prompt: 'One', tokens: 5, temperature: 1, topK: 0, seed: 1 })),
      'string',
    )
    const theta = vectors.float32('theta').slice()
    assert.equal(await learner.lossAt('theta', 3), await learner.gradient(3))
    assert.deepEqual(vectors.float32('theta'), theta)
    await assert.rejects(learner.compute({ name: 'no.such', run: () => 0 }, {}), { code: 'task-unknown' })
    await assert.rejects(learner.evaluate({ vector: 'nowhere' }))
  })

  it('holds as many tensors after many steps as before', async () => {
    const { learner } = await open()
    await learner.train(5)
    const before = await learner.tensors()
    await learner.train(300)
    assert.equal(await learner.tensors(), before)
  })

  it('goes on from memory when the thread dies in the middle of training', async () => {
    const { learner, events, vectors } = await open()
    await learner.train(20)
    const trained = await learner.evaluate()
    const copy = vectors.float32('theta').slice()
    const training = learner.train(600)
    await learner.compute(throwLater, { milliseconds: 5 })
    await training
    assert.equal(learner.step(), 620, 'the steps that were left are taken')
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['trainer-crashed', 'trainer-restarted'],
    )
    const restarted = events.find((event) => event.kind === 'trainer-restarted')
    assert.ok(restarted !== undefined && restarted.step >= 20, 'it took over where the first one was')
    assert.notDeepEqual(vectors.float32('theta'), copy)
    assert.ok((await learner.evaluate()).loss < trained.loss, 'and what was learned was not lost')
  })

  it('fails a compute that was running, and begins the others again', async () => {
    const { learner, events } = await open()
    const broken = learner.compute(exit, { code: 7 })
    const queued = learner.evaluate()
    await assert.rejects(broken, { code: 'trainer-crashed' })
    assert.ok((await queued).loss > 0)
    assert.match(events[0]?.kind === 'trainer-crashed' ? events[0].message : '', /code 7/)
  })

  it('writes the common start wherever it is asked for, whatever was trained since', async () => {
    const { learner, vectors } = await open()
    const start = vectors.float32('theta').slice()
    await learner.train(3)
    await learner.initial('copy')
    assert.deepEqual(vectors.float32('copy'), start)
    assert.notDeepEqual(vectors.float32('theta'), start)
    await assert.rejects(learner.initial('nothing'), { code: 'vector-unknown' })
  })

  it('starts from a file of weights where the run names one, and refuses one that does not fit', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'starling-trainer-'))
    after(() => rm(folder, { recursive: true, force: true }))
    const theta = new Float32Array(run.layout.length)
    for (const { offset, length } of run.layout.tensors) theta.fill(0.25, offset, offset + length)
    const tensors = layoutTensors(run.layout, theta)
    const path = join(folder, 'start.safetensors')
    const save = async (kept: typeof tensors): Promise<void> => {
      const { header, views } = writeSafetensors(kept)
      await writeFile(path, Buffer.concat([header, ...views]))
    }
    await save(tensors)
    const { learner, vectors } = await open({ weights: { path, name: 'start.safetensors' } })
    assert.deepEqual(vectors.float32('theta'), theta)
    await learner.train(1)
    await learner.initial('copy')
    assert.deepEqual(vectors.float32('copy'), theta)
    await save(tensors.slice(1))
    await assert.rejects(open({ weights: { path, name: 'start.safetensors' } }), {
      code: 'weights-unfit',
      message: /start\.safetensors does not fit the model: the file holds no tensor/,
    })
  })

  it('evaluates without memory for a gradient, and says so when asked to train', async () => {
    const { learner } = await open({ trains: false })
    assert.equal(await learner.lossAt('theta', 3), await learner.lossAt('theta', 3))
    assert.ok((await learner.evaluate()).loss > 0)
    await assert.rejects(learner.train(1), { code: 'evaluates-only' })
    await assert.rejects(learner.gradient(0), { code: 'evaluates-only' })
    assert.equal(learner.step(), 0)
  })

  it('gives up after too many deaths, with an error for whoever waits', async () => {
    const { learner } = await open()
    for (let n = 0; n < 4; n++) await assert.rejects(learner.compute(exit, { code: 1 }), { code: 'trainer-crashed' })
    await assert.rejects(learner.compute(exit, { code: 1 }), { code: 'trainer-failed' })
    await assert.rejects(learner.failed, { code: 'trainer-failed' })
    await assert.rejects(learner.evaluate(), { code: 'trainer-failed' })
  })

  it('gives up a start at any moment, without harm to the process', async () => {
    const vectors = SharedVectors.create(trainerVectors(run.model, run.training))
    const setup = {
      vectors: vectors.handle,
      model: run.model,
      training: run.training,
      trains: true,
      data: sourceOf(run.manifest.data, run.model, 1, 'test', {}),
      seed: 1,
      threads: 1,
      taskModules: [],
    }
    const modules = { vectors, log: quietLog, onEvent: () => {} }
    // The moments are spread over the load of the engine, whose native part does not survive the end of its thread halfway.
    for (const milliseconds of [1, 200, 400, 800]) {
      const stop = new AbortController()
      const timer = setTimeout(() => stop.abort(), milliseconds)
      await createLearner(setup, modules, { initialize: true, step: 0, signal: stop.signal }).then(
        (learner) => learner.close(),
        (error) => assert.equal(error.code, 'aborted'),
      )
      clearTimeout(timer)
    }
  })

  it('says at the start what is wrong with data or engine', async () => {
    const vectors = SharedVectors.create(trainerVectors(run.model, run.training))
    const setup = {
      vectors: vectors.handle,
      model: run.model,
      training: run.training,
      trains: true,
      data: { ...sourceOf(run.manifest.data, run.model, 1, 'test', {}), context: 1_000_000 },
      seed: 1,
      threads: 1,
      taskModules: [],
    }
    const modules = { vectors, log: quietLog, onEvent: () => {} }
    await assert.rejects(createLearner(setup, modules, { initialize: true, step: 0 }), { code: 'text-too-short' })
    const stopped = AbortSignal.abort()
    await assert.rejects(createLearner(setup, modules, { initialize: true, step: 0, signal: stopped }), {
      code: 'aborted',
    })
  })
})
