import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type StageLearner, StarlingError } from '../../protocols/index.ts'
import { buildRun } from '../run/index.ts'
import type { Session } from './session.ts'
import { timedStages } from './stage-times.ts'
import { advance, createProgress } from './state.ts'
import { writeText } from './write-text.ts'

const run = buildRun({ strategy: { name: 'pipeline', stages: 2 } })
const request = { prompt: 'ab', tokens: 3, temperature: 0, topK: 0, seed: 1 }

/** A session whose strategy gives these logits. */
const sessionOf = (logits?: (tokens: readonly number[]) => Promise<Float32Array>): Session =>
  ({ learner: {}, strategy: { name: 'pipeline', ...(logits === undefined ? {} : { logits }) } }) as unknown as Session

describe('a node in a pipeline', () => {
  it('writes text token by token through the stages', async () => {
    const asked: number[][] = []
    const session = sessionOf(async (tokens) => {
      asked.push([...tokens])
      const logits = new Float32Array(256)
      // The next letter of the alphabet.
      logits[(tokens.at(-1) as number) + 1] = 1
      return logits
    })
    assert.equal(await writeText(run, session, request, new AbortController().signal), 'cde')
    assert.deepEqual(asked[0], [97, 98])
    assert.equal(asked.length, 3)
  })

  it('says why it cannot', async () => {
    const { signal } = new AbortController()
    await assert.rejects(writeText(run, sessionOf(), request, signal), { code: 'not-ready' })
    const holder = sessionOf(async () => {
      throw new StarlingError('not-a-data-peer', 'ask another')
    })
    await assert.rejects(writeText(run, holder, request, signal), { code: 'not-a-data-peer' })
    const images = buildRun({ data: { source: 'digits' }, strategy: { name: 'pipeline', stages: 1 } })
    await assert.rejects(writeText(images, holder, request, signal), { code: 'not-a-text-model' })
  })

  it('tells how long operations on stages took, also those that fail', async () => {
    const took: string[] = []
    const stages = {
      forward: async () => 'done',
      backward: async () => {
        throw new StarlingError('slot-unknown', 'gone')
      },
    }
    const learner = new Proxy(stages as unknown as StageLearner, {
      get: (target, name) => target[name as keyof StageLearner] ?? (async () => {}),
    })
    const timed = timedStages(learner, (operation, milliseconds) => {
      assert.ok(milliseconds >= 0)
      took.push(operation)
    })
    assert.equal(await timed.forward(0, 1), 'done')
    await assert.rejects(timed.backward(1, 0), { code: 'slot-unknown' })
    assert.deepEqual(took, ['forward', 'backward'])
  })

  it('sums up what it holds and what passed through', () => {
    const progress = createProgress()
    const taken = { how: 'initial', from: [], step: 0, degraded: false, bytes: 0, milliseconds: 1 } as const
    for (const stage of [2, 0]) advance(progress, { kind: 'stage-taken', stage, ...taken, from: [] })
    assert.equal(progress.phase, 'training')
    advance(progress, { kind: 'stage-left', stage: 2, step: 3 })
    const flow = { step: 3, microbatches: 8, inFlight: 2, retries: 1, bytesSent: 0, bytesReceived: 0 }
    for (let i = 0; i < 2; i++) advance(progress, { kind: 'pipeline', ...flow, holders: [{ stage: 1, peers: ['X'] }] })
    const recovered = { stage: 1, peer: 'X', how: 'average', step: 3, lossBefore: 1, lossAfter: 2 } as const
    advance(progress, { kind: 'stage-recovered', ...recovered, milliseconds: 1_500 })
    assert.deepEqual(progress.pipeline, {
      stages: [0],
      flow: {
        holders: [{ stage: 1, peers: ['X'] }],
        inFlight: 2,
        microbatches: 16,
        retries: 2,
        recoveries: 1,
        stalledSeconds: 1.5,
      },
    })
  })
})
