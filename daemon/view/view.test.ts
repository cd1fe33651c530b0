import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NodeEvent } from '../types.ts'
import { Curve } from './curve.ts'
import { describeEvent, describePipeline, formatBytes, formatDuration, formatLoss } from './format.ts'
import { describeRole } from './pipeline-view.ts'
import { RunView } from './run-view.ts'

let sequence = 0
const at = (peer: string, time: number, event: object): NodeEvent => {
  sequence += 1
  return { ...event, sequence, peer, time } as NodeEvent
}
const exchange = (round: number, partner: string) => ({
  kind: 'exchange',
  round,
  partner,
  disagreement: 0.1,
  codingError: 0,
  bytesSent: 10,
  bytesReceived: 10,
  milliseconds: 1,
})

describe('a curve', () => {
  it('stays bounded and keeps its first and newest points', () => {
    const curve = new Curve(100)
    for (let step = 0; step < 10_000; step += 1) curve.add(step, step * 10, step / 2)
    assert.ok(curve.length <= 100)
    const { x, y } = curve.sorted('steps')
    assert.equal(x[0], 0)
    assert.equal(x.at(-1), 9_999)
    assert.deepEqual(
      y,
      x.map((step) => step / 2),
    )
  })

  it('puts the steps of a peer that came back in order, the later point first in right', () => {
    const curve = new Curve()
    for (const [step, loss] of [
      [1, 5],
      [2, 4],
      [3, 3],
      [2, 3.9],
      [4, 2],
    ] as const)
      curve.add(step, 1000 * step, loss)
    assert.deepEqual(curve.sorted('steps'), { x: [1, 2, 3, 4], y: [5, 3.9, 3, 2] })
  })

  it('leaves out what is not finite', () => {
    const curve = new Curve()
    curve.add(1, 1, Number.NaN)
    assert.equal(curve.length, 0)
  })
})

describe('the view of a run', () => {
  it('says who holds the same set of contributions', () => {
    const view = new RunView()
    const set = (contributions: number, digest: string) => ({
      kind: 'contributions',
      contributions,
      authors: 2,
      digest,
      added: 1,
    })
    assert.equal(view.holdsSets, false)
    view.apply(at('a', 1_000, set(10, 'aaaa')))
    view.apply(at('b', 1_000, set(10, 'aaaa')))
    view.apply(at('c', 1_000, set(10, 'cccc')))
    view.apply(at('d', 1_000, { kind: 'step', step: 1, loss: 1 }))
    assert.equal(view.holdsSets, true)
    const holders = ['a', 'b', 'c', 'd'].map((peer) => view.holdersOf(view.peers.get(peer)?.set))
    assert.deepEqual(holders, [2, 2, 1, 0])
    view.apply(at('a', 3_000, set(12, 'cccc')))
    assert.equal(view.holdersOf(view.peers.get('c')?.set), 2)
    const curve = view.peers.get('a')?.contributions.sorted('seconds', view.start)
    assert.deepEqual(curve, { x: [0, 2], y: [10, 12] })
  })

  it('counts whose fragments were left out, and says so', () => {
    const view = new RunView()
    const mixed = {
      kind: 'mixed',
      round: 4,
      groups: 2,
      fragments: 7,
      leftOut: [
        { peer: 'b', times: 2 },
        { peer: 'c', times: 1 },
      ],
      corrected: 0,
      disagreement: 0.25,
      codingError: 0.01,
      bytesSent: 10,
      bytesReceived: 20,
    }
    view.apply(at('a', 1, mixed))
    view.apply(at('c', 2, { ...mixed, leftOut: [{ peer: 'b', times: 1 }] }))
    assert.deepEqual(Object.fromEntries(view.leftOut), { b: 3, c: 1 })
    assert.equal(view.exchangesDone, 14)
    assert.equal(view.disagreement, 0.25)
    assert.equal(
      describeEvent(at('a', 1, mixed)),
      'mixed 7 fragments by turn 4, disagreement 0.25, left out b (2 times), c',
    )
  })

  it('keeps an exchange that both sides report once, and counts both sides', () => {
    const view = new RunView()
    view.apply(at('a', 1, exchange(1, 'b')))
    view.apply(at('b', 2, exchange(1, 'a')))
    assert.equal(view.exchanges.length, 1)
    assert.equal(view.exchangesDone, 2)
    assert.equal(view.disagreement, 0.1)
  })

  it('follows connections and who is down', () => {
    const view = new RunView()
    view.apply(at('a', 1, { kind: 'connected', remote: 'b' }))
    view.apply(at('b', 1, { kind: 'connected', remote: 'a' }))
    assert.deepEqual([...view.links], ['a|b'])
    view.apply(at('b', 2, { kind: 'process-died', how: 'killed', restartIn: 1_000 }))
    assert.equal(view.links.size, 0)
    assert.equal(view.peers.get('b')?.down, true)
    view.apply(at('b', 3, { kind: 'process-restarted', restarts: 1 }))
    assert.equal(view.peers.get('b')?.down, false)
  })

  it('counts skipped exchanges and refusals by reason, in bounds', () => {
    const view = new RunView()
    for (let index = 0; index < 100; index += 1)
      view.apply(at('a', index, { kind: 'rejected', what: 'tensor', reason: `r${index}` }))
    view.apply(at('a', 1, { kind: 'exchange-skipped', round: 1, reason: 'partner-late' }))
    view.apply(at('a', 1, { kind: 'exchange-skipped', round: 2, reason: 'partner-late' }))
    assert.equal(view.skipped.get('partner-late'), 2)
    assert.ok(view.rejected.size <= 33)
    assert.equal(
      [...view.rejected.values()].reduce((sum, count) => sum + count, 0),
      100,
    )
  })

  it('stays bounded over many peers and events', () => {
    const view = new RunView()
    for (let index = 0; index < 20_000; index += 1) {
      view.apply(
        at(`peer-${index % 500}`, index, {
          kind: 'step',
          step: index,
          loss: 1,
          gradientNorm: 1,
          learningRate: 1,
          milliseconds: 1,
          samples: 1,
        }),
      )
      view.apply(at('a', index, { kind: 'checkpoint', step: index, path: '', bytes: 1, milliseconds: 1 }))
      view.apply(at('a', index, exchange(index, 'b')))
    }
    assert.ok(view.peers.size <= 64)
    assert.ok(view.timeline.length <= 300)
    assert.ok(view.exchanges.length <= 128)
  })
})

describe('the sentence of an event', () => {
  const described = (event: object): string => describeEvent(at('a', 1, event))

  it('names the other peer, where there is one', () => {
    assert.equal(described({ kind: 'waiting', for: 'partner', about: 'b' }), 'waits for b (partner)')
    assert.equal(described({ kind: 'waiting', for: 'the others to finish' }), 'waits for the others to finish')
    const rejected = { kind: 'rejected', what: 'tensor', reason: 'not finite' }
    assert.equal(described({ ...rejected, about: 'b' }), 'refused tensor of b: not finite')
    assert.equal(described(rejected), 'refused tensor: not finite')
    const stranger = { kind: 'rejected', what: 'connection', reason: 'other-version', about: 'b' }
    assert.equal(described(stranger), "refused connection of b: it speaks another version of Starling's protocol")
    assert.equal(described({ ...stranger, reason: 'some-new-code' }), 'refused connection of b: some new code')
    const skipped = { kind: 'exchange-skipped', round: 3, partner: 'b', reason: 'too-far' }
    assert.match(described(skipped), /with b in round 3: the model of the partner was farther away/)
    const excluded = { kind: 'excluded', step: 7, own: false, reason: 'two bytes' }
    assert.equal(described({ ...excluded, about: 'b' }), 'excluded b from step 7 on: two bytes')
  })

  it('says what a joiner expects and what it chose', () => {
    const plan = { kind: 'plan', contributions: 12_000, replaySeconds: 75 }
    assert.equal(
      described({ ...plan, choice: 'snapshot', snapshotSeconds: 3 }),
      'takes a snapshot (about 3 s) instead of replaying 12,000 contributions (about 1 min 15 s)',
    )
    assert.equal(described({ ...plan, choice: 'replay' }), 'replays 12,000 contributions (about 1 min 15 s)')
    assert.equal(
      described({ ...plan, choice: 'replay', snapshotSeconds: 90 }),
      'replays 12,000 contributions (about 1 min 15 s) instead of taking a snapshot (about 1 min 30 s)',
    )
  })
})

describe('figures', () => {
  it('reads well', () => {
    assert.deepEqual([0, 999, 1_000, 1_234_567, 99_960_000].map(formatBytes), [
      '0 B',
      '999 B',
      '1.00 kB',
      '1.23 MB',
      '100 MB',
    ])
    assert.deepEqual([0, 59.6, 61, 3_725].map(formatDuration), ['0 s', '1 min 00 s', '1 min 01 s', '1 h 02 min'])
    assert.equal(formatLoss(null), '–')
    assert.equal(formatLoss(1.23456), '1.235')
  })
})

describe('the view of a pipeline', () => {
  const flow = (step: number, holders: Record<number, string[]>, inFlight = 3) => ({
    kind: 'pipeline',
    step,
    microbatches: 8,
    inFlight,
    retries: step === 2 ? 4 : 0,
    holders: Object.entries(holders).map(([stage, peers]) => ({ stage: Number(stage), peers })),
    bytesSent: 1,
    bytesReceived: 1,
  })

  it('knows who holds which stage, through a death and the recovery after it', () => {
    const view = new RunView()
    view.apply(
      at('D', 1_000, {
        kind: 'stage-taken',
        stage: 0,
        how: 'initial',
        from: [],
        step: 0,
        degraded: false,
        bytes: 0,
        milliseconds: 0,
      }),
    )
    view.apply(at('D', 2_000, flow(1, { 1: ['A'], 2: ['B'], 3: ['C'] })))
    view.apply(at('D', 4_000, flow(2, { 1: ['A'], 2: ['B'], 3: ['C'] })))
    assert.deepEqual(view.peers.get('D')?.flow.y, [4], 'eight microbatches in two seconds')
    assert.equal(describeRole(view.pipeline, 'D'), 'data')
    assert.equal(describeRole(view.pipeline, 'B'), 'stage 2')
    view.apply(at('D', 5_000, { kind: 'stage-lost', stage: 2, about: 'B', step: 3, reason: 'disconnected', others: 0 }))
    assert.equal(describeRole(view.pipeline, 'B'), undefined)
    assert.equal(view.pipeline.row[1]?.lostAt, 5_000)
    view.apply(
      at('A', 5_400, {
        kind: 'stage-taken',
        stage: 2,
        how: 'average',
        from: ['A', 'C'],
        step: 2,
        degraded: false,
        bytes: 9,
        milliseconds: 100,
      }),
    )
    view.apply(
      at('D', 5_500, {
        kind: 'stage-recovered',
        stage: 2,
        about: 'A',
        how: 'average',
        step: 3,
        lossBefore: 2.31,
        lossAfter: 2.35,
        milliseconds: 500,
      }),
    )
    assert.equal(describeRole(view.pipeline, 'A'), 'stages 1, 2')
    assert.equal(view.pipeline.row[1]?.lostAt, undefined)
    assert.equal(view.pipeline.lossesOf('B'), 1)
    assert.deepEqual([view.pipeline.microbatches, view.pipeline.retries, view.pipeline.recovered], [16, 4, 1])
    assert.equal(view.pipeline.longestStall, 500)
    assert.equal(view.pipeline.inFlight(6_000), 3)
    assert.equal(view.pipeline.inFlight(600_000), 0, 'a silent data peer has nothing on its way that we know of')
    const tones = view.timeline.map(({ tone }) => tone)
    assert.deepEqual(tones, ['good', 'warn', 'good', 'good'])
  })

  it('says what a node does in it', () => {
    assert.equal(describePipeline({ stages: [] }), 'holds no stage')
    const flow = { holders: [], inFlight: 3, microbatches: 1_200, retries: 4, recoveries: 2, stalledSeconds: 3.4 }
    assert.equal(
      describePipeline({ stages: [0, 2], flow }),
      'holds the ends, stage 2; 1,200 microbatches, 3 in flight, 4 begun again; 2 recoveries in 3.4 s',
    )
  })

  it('stays bounded, whatever peers say', () => {
    const view = new RunView()
    for (let n = 0; n < 2_000; n++) {
      const stage = { stage: n, how: 'initial', from: [], step: 0, degraded: false, bytes: 0, milliseconds: 0 }
      view.apply(at('A', n, { kind: 'stage-taken', ...stage }))
      view.apply(at('A', n, { kind: 'stage-lost', stage: 1, about: `B${n}`, step: 3, reason: 'silent', others: 0 }))
      const recovered = { stage: 2, about: 'B', how: 'average', step: 3, lossBefore: 1, lossAfter: 1, milliseconds: 1 }
      view.apply(at('A', n, { kind: 'stage-recovered', ...recovered }))
    }
    assert.ok(view.pipeline.stages.size <= 64 && view.pipeline.recoveries.length <= 50)
  })

  it('says what was lost, where it came from and what that did to the loss', () => {
    const name = (peer: string): string => `peer-${peer}`
    const say = (event: object): string => describeEvent(at('1', 0, event), name)
    assert.equal(
      say({ kind: 'stage-lost', stage: 3, about: '4', step: 120, reason: 'disconnected', others: 0 }),
      'lost stage 3 at step 120: peer-4 disconnected',
    )
    assert.equal(
      say({
        kind: 'stage-taken',
        stage: 3,
        how: 'average',
        from: ['2', '5'],
        step: 119,
        degraded: false,
        bytes: 1_200_000,
        milliseconds: 400,
      }),
      'holds stage 3 from step 119 on, rebuilt from stages 2 and 4 of peer-2 and peer-5 (1.20 MB in 0.40 s)',
    )
    assert.equal(
      say({
        kind: 'stage-recovered',
        stage: 3,
        about: '2',
        how: 'average',
        step: 120,
        lossBefore: 2.31,
        lossAfter: 2.35,
        milliseconds: 412,
      }),
      'goes on after 0.41 s: peer-2 holds stage 3, rebuilt from stages 2 and 4; validation loss 2.310 → 2.350',
    )
    assert.equal(say({ kind: 'stage-left', stage: 0, to: '7', step: 5 }), 'gave the ends away to peer-7 at step 5')
  })
})
