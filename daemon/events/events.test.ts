import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from 'cborg'
import fc from 'fast-check'
import type { Clock, GossipMessage, Swarm, TopicHandler } from '../../protocols/index.ts'
import { createEventLog, type EventLog, timeOf } from './log.ts'
import { createNews, decodeNews, encodeNews, isPublic, NEWS_TOPIC } from './news.ts'
import { createContributionThinner, createStepThinner } from './thinner.ts'

const step = (number: number, loss = 1) =>
  ({ kind: 'step', step: number, loss, gradientNorm: 1, learningRate: 0.1, milliseconds: 2, samples: 16 }) as const

describe('event log', () => {
  it('numbers events and gives those after a number', () => {
    const log = createEventLog({ self: 'me', now: () => 7 })
    const seen: number[] = []
    const stop = log.listen((event) => seen.push(event.sequence))
    log.record(step(1))
    log.merge('other', 3, step(2))
    stop()
    log.record(step(3))
    assert.deepEqual(seen, [1, 2])
    assert.deepEqual(
      log.since(1).map(({ sequence, peer, time }) => [sequence, peer, time]),
      [
        [2, 'other', 3],
        [3, 'me', 7],
      ],
    )
    assert.equal(log.since(99).length, 0)
  })

  it('stays bounded, thins steps before anything else and keeps their whole range', () => {
    const log = createEventLog({ self: 'me', capacity: 200 })
    log.record({ kind: 'started', run: 'r', listen: [], engine: 'js' })
    for (let n = 1; n <= 5_000; n++) log.record(step(n))
    const kept = log.since()
    assert.ok(kept.length <= 200)
    assert.equal(kept[0]?.kind, 'started')
    assert.ok(kept.some((event) => event.kind === 'step' && event.step < 500))
    assert.equal(kept.at(-1)?.sequence, 5_001)
    assert.ok(kept.every((event, index) => index === 0 || event.sequence > (kept[index - 1]?.sequence ?? 0)))
  })

  it('stays bounded without any steps', () => {
    const log = createEventLog({ self: 'me', capacity: 100 })
    for (let n = 0; n < 1_000; n++) log.record({ kind: 'connected', remote: `p${n}` })
    assert.ok(log.since().length <= 100)
    assert.equal(log.since().at(-1)?.sequence, 1_000)
  })

  it('drops a listener that throws and goes on', () => {
    const errors: unknown[] = []
    const log = createEventLog({ self: 'me', onError: (error) => errors.push(error) })
    log.listen(() => {
      throw new Error('no')
    })
    log.record(step(1))
    log.record(step(2))
    assert.equal(errors.length, 1)
  })
})

describe('step thinner', () => {
  it('folds the steps of a second into one event with their mean loss', () => {
    let now = 0
    const out: { step: number; loss: number }[] = []
    const thinner = createStepThinner(
      (event) => out.push(event),
      () => now,
    )
    for (let n = 1; n <= 25; n++) {
      thinner.step(step(n, n))
      now += 100
    }
    thinner.flush()
    assert.deepEqual(
      out.map(({ step, loss }) => [step, loss]),
      [
        [1, 1],
        [11, 6.5],
        [21, 16.5],
        [25, 23.5],
      ],
    )
  })
})

describe('contribution thinner', () => {
  const set = (contributions: number, added: number) =>
    ({ kind: 'contributions', contributions, authors: 2, digest: '0'.repeat(16), added }) as const

  it('passes on the first change at once, one a second after that, and never loses the last', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const out: [number, number][] = []
    const thinner = createContributionThinner(({ contributions, added }) => out.push([contributions, added]))
    thinner.changed(set(16, 16))
    assert.deepEqual(out, [[16, 16]])
    for (let n = 2; n <= 10; n++) thinner.changed(set(16 * n, 16))
    thinner.changed(set(150, -10))
    assert.equal(out.length, 1)
    t.mock.timers.tick(1_000)
    assert.deepEqual(out.at(-1), [150, 134])
    t.mock.timers.tick(5_000)
    assert.equal(out.length, 2)
    thinner.changed(set(166, 16))
    thinner.changed(set(182, 16))
    thinner.flush()
    assert.deepEqual(out.slice(2), [
      [166, 16],
      [182, 16],
    ])
    t.mock.timers.tick(5_000)
    assert.equal(out.length, 4)
  })
})

/** Two swarms on one line: what one publishes, the other's handler gets as signed by `from`. */
function line(): {
  swarm: (name: string) => Swarm
  deliver(message: GossipMessage): string
  elapse(ms: number): Promise<void>
  sent: GossipMessage[]
} {
  const handlers: TopicHandler[] = []
  const sent: GossipMessage[] = []
  let now = 0
  let sleepers: { at: number; wake(): void }[] = []
  const clock: Clock = {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason))
        sleepers.push({ at: now + ms, wake: resolve })
      }),
  }
  const deliver = (message: GossipMessage): string => {
    let last = ''
    for (const handler of handlers) {
      const verdict = handler.validate(message)
      last = verdict.verdict === 'accept' ? 'accept' : `${verdict.verdict}:${verdict.reason}`
      if (last === 'accept') handler.handle(message)
    }
    return last
  }
  return {
    sent,
    deliver,
    async elapse(ms) {
      now += ms
      const due = sleepers.filter(({ at }) => at <= now)
      sleepers = sleepers.filter(({ at }) => at > now)
      for (const { wake } of due) wake()
      for (let n = 0; n < 10; n++) await new Promise((resolve) => setImmediate(resolve))
    },
    swarm: (name) =>
      ({
        self: name,
        clock,
        subscribe: (_topic: string, handler: TopicHandler) => {
          handlers.push(handler)
          return () => {}
        },
        publish: async (topic: string, data: Uint8Array) => {
          const message = { topic, from: name, data }
          sent.push(message)
          deliver(message)
          return 1
        },
      }) as unknown as Swarm,
  }
}

describe('news', () => {
  it('tells public events of one peer to another, in its name', async () => {
    const wire = line()
    const logs: Record<string, EventLog> = { a: createEventLog({ self: 'A' }), b: createEventLog({ self: 'B' }) }
    const a = createNews({ swarm: wire.swarm('A'), log: logs.a as EventLog })
    const b = createNews({ swarm: wire.swarm('B'), log: logs.b as EventLog })
    a.tell(step(1), 1_000)
    a.tell({ kind: 'checkpoint', step: 1, path: '/home/me/secret', bytes: 1, milliseconds: 1 }, 1_000)
    a.tell({ kind: 'trainer-crashed', message: 'in /home/me', restarts: 1 }, 1_000)
    await wire.elapse(2_000)
    assert.deepEqual(
      logs.b?.since().map(({ kind, peer, time }) => [kind, peer, time]),
      [['step', 'A', 1_000]],
    )
    assert.equal(logs.a?.since().length, 0)
    assert.ok(!Buffer.from(wire.sent[0]?.data ?? []).includes('secret'))
    await Promise.all([a.stop(), b.stop()])
  })

  it('sends what waits when it stops', async () => {
    const wire = line()
    const news = createNews({ swarm: wire.swarm('A'), log: createEventLog({ self: 'A' }) })
    news.tell({ kind: 'finished', step: 5, round: 1 }, 1)
    await news.stop()
    assert.equal(wire.sent.length, 1)
  })

  it('sends any number of events in batches within the limits', async () => {
    const wire = line()
    const news = createNews({ swarm: wire.swarm('A'), log: createEventLog({ self: 'A' }) })
    for (let n = 0; n < 300; n++)
      news.tell(n % 10 === 0 ? { kind: 'sample', step: n, prompt: 'x', text: '€'.repeat(1_000) } : step(n), n)
    await news.stop()
    const items = wire.sent.flatMap(({ data }) => decodeNews(data))
    assert.ok(items.length <= 192 && items.length >= 190)
    assert.equal(items.filter(({ event }) => event.kind === 'sample').length, 30, 'steps are dropped first')
  })

  it('refuses what is malformed and ignores who says too much', async () => {
    const wire = line()
    const news = createNews({ swarm: wire.swarm('A'), log: createEventLog({ self: 'A' }) })
    assert.equal(wire.deliver({ topic: NEWS_TOPIC, from: 'X', data: Uint8Array.of(1, 2, 3) }), 'reject:bad-message')
    const later = encode({ v: 1, items: [{ time: 1, event: { kind: 'from-a-later-version' } }] })
    assert.equal(wire.deliver({ topic: NEWS_TOPIC, from: 'Z', data: later }), 'ignore:unknown-event')
    const good = encodeNews([{ time: 1, event: step(1) }])
    const verdicts = Array.from({ length: 20 }, () => wire.deliver({ topic: NEWS_TOPIC, from: 'Y', data: good }))
    assert.equal(verdicts.filter((verdict) => verdict === 'accept').length, 8)
    assert.equal(verdicts.at(-1), 'ignore:rate')
    await news.stop()
  })

  it('refuses a time that no date can hold, which nobody could show', () => {
    const at = (time: number) => encodeNews([{ time, event: step(1) }])
    assert.match(timeOf({ ...step(1), sequence: 1, peer: 'X', time: 8.64e15 }), /^\+275760/)
    assert.equal(decodeNews(at(8.64e15)).length, 1)
    assert.throws(() => at(8.64e15 + 2), { code: 'bad-message' })
  })

  it('never takes arbitrary bytes for a batch, and never throws anything but its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert.throws(() => decodeNews(bytes), { code: 'bad-message' })
      }),
    )
  })

  it('keeps numbers that are not finite at home', () => {
    assert.equal(isPublic(step(1, Number.NaN)), false)
    assert.equal(isPublic(step(1)), true)
  })

  it('tells of fragments that were mixed, with whom was left out', () => {
    const event = {
      kind: 'mixed',
      round: 9,
      groups: 2,
      fragments: 7,
      leftOut: Array.from({ length: 15 }, (_, i) => ({
        peer: `${'X'.repeat(50)}${i + 1}`.replaceAll('0', 'a'),
        times: 1,
      })),
      corrected: 0,
      disagreement: 0.1,
      codingError: 0.01,
      bytesSent: 10,
      bytesReceived: 20,
    } as const
    const items = [{ time: 1, event }]
    assert.deepEqual(decodeNews(encodeNews(items)), items)
    assert.equal(isPublic({ ...event, leftOut: [{ peer: '<b>', times: 1 }] }), false)
  })

  it('tells of sets of contributions, exclusions and how a joiner begins', () => {
    const digest = 'a1'.repeat(8)
    const events = [
      { kind: 'contributions', contributions: 5, authors: 1, digest, added: -3 },
      { kind: 'excluded', peer: 'X', step: 7, own: false, reason: 'two bytes' },
      { kind: 'plan', choice: 'replay', contributions: 5, replaySeconds: 0.1 },
    ] as const
    const items = events.map((event) => ({ time: 1, event }))
    assert.deepEqual(decodeNews(encodeNews(items)), items)
    assert.equal(isPublic({ ...events[0], digest: '<b>' }), false)
  })

  it('tells of stages, in a batch whatever their number', async () => {
    const events = [
      {
        kind: 'stage-taken',
        stage: 3,
        how: 'average',
        from: ['X', 'Y'],
        step: 9,
        degraded: false,
        bytes: 5,
        milliseconds: 0.5,
      },
      { kind: 'stage-left', stage: 3, to: 'X', step: 9 },
      { kind: 'stage-lost', stage: 3, peer: 'X', step: 9, reason: 'silent', others: 0 },
      {
        kind: 'stage-recovered',
        stage: 3,
        peer: 'X',
        how: 'twin',
        step: 9,
        lossBefore: 2,
        lossAfter: 3,
        milliseconds: 1,
      },
      { kind: 'plan-agreed', plan: 'ab', paths: 4, seconds: 0.5 },
    ] as const
    const items = events.map((event) => ({ time: 1, event }))
    assert.deepEqual(decodeNews(encodeNews(items as never)), items)
    const wire = line()
    const news = createNews({ swarm: wire.swarm('A'), log: createEventLog({ self: 'A' }) })
    const peers = Array.from({ length: 9 }, (_, i) => `${'X'.repeat(51)}${i + 1}`)
    const holders = Array.from({ length: 100 }, (_, i) => ({ stage: i, peers }))
    for (let n = 0; n < 10; n++) {
      news.tell(
        {
          kind: 'pipeline',
          step: n,
          microbatches: 4,
          inFlight: 1,
          retries: 0,
          holders,
          bytesSent: 1,
          bytesReceived: 1,
        },
        n,
      )
      news.tell(step(n), n)
    }
    await news.stop()
    const told = wire.sent.flatMap(({ data }) => decodeNews(data))
    assert.equal(told.filter(({ event }) => event.kind === 'pipeline').length, 10)
    const [{ event } = { event: undefined }] = told
    assert.ok(event?.kind === 'pipeline' && event.holders.length === 64 && event.holders[0]?.peers.length === 3)
  })
})
