import '../shims.ts'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { MAX_ANSWER, MAX_QUESTION } from './frames.ts'
import { LANES } from './lane.ts'
import { codeOf, startPair, until } from './testing.ts'

const EMPTY = new Uint8Array(0)

/** An answerer that waits for its signal, and what became of it. */
function patient() {
  const state = { started: 0, stopped: 0 }
  const answerer = async (_from: string, _question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> => {
    state.started++
    if (!signal.aborted) await once(signal, 'abort')
    state.stopped++
    throw signal.reason
  }
  return { state, answerer }
}

test('sizes: what is allowed arrives whole, what is not is refused', async (t) => {
  const [a, b] = await startPair(t)
  b.answer('size', (_from, question) => {
    const size = new DataView(question.buffer, question.byteOffset).getUint32(0)
    return Uint8Array.from({ length: size }, (_, at) => at % 251)
  })
  b.answer('length', (_from, question) =>
    Uint8Array.of(question.byteLength & 255, question.byteLength >> 8, question.byteLength >> 16),
  )
  const size = (bytes: number): Uint8Array => {
    const question = new Uint8Array(4)
    new DataView(question.buffer).setUint32(0, bytes)
    return question
  }
  for (const bytes of [0, 1, 65_536, 65_537, 1024 * 1024, MAX_ANSWER]) {
    const answer = await a.ask(b.self, 'size', size(bytes), { maxAnswer: Math.max(bytes, 1) })
    assert.equal(answer.byteLength, bytes)
    assert.ok(answer.every((value, at) => value === at % 251))
  }
  assert.equal(await codeOf(a.ask(b.self, 'size', size(65_537))), 'answer-too-large')
  assert.equal(await codeOf(a.ask(b.self, 'size', size(MAX_ANSWER + 1), { maxAnswer: MAX_ANSWER })), 'answer-too-large')
  assert.equal(await codeOf(a.ask(b.self, 'size', EMPTY, { maxAnswer: MAX_ANSWER + 1 })), 'bad-limit')
  const length = await a.ask(b.self, 'length', new Uint8Array(MAX_QUESTION))
  assert.deepEqual([...length], [MAX_QUESTION & 255, (MAX_QUESTION >> 8) & 255, MAX_QUESTION >> 16])
  assert.equal(await codeOf(a.ask(b.self, 'length', new Uint8Array(MAX_QUESTION + 1))), 'question-too-large')
  assert.deepEqual(
    a.seen.filter((event) => event.kind === 'rejected'),
    [],
  )
  assert.deepEqual(
    b.seen.filter((event) => event.kind === 'rejected'),
    [],
  )
})

test('many questions at once on both lanes are each answered with their own answer', async (t) => {
  const [a, b] = await startPair(t)
  b.answer('twice', async (_from, question) => {
    await new Promise((resolve) => setTimeout(resolve, (question[0] ?? 0) % 7))
    return Uint8Array.from([...question, ...question])
  })
  const asked = Array.from({ length: 300 }, (_, at) => Uint8Array.of(at & 255, at >> 8))
  const answers = await Promise.all(
    asked.map((one, at) => a.ask(b.self, 'twice', one, at % 3 === 0 ? { maxAnswer: 1024 * 1024 } : {})),
  )
  answers.forEach((answer, at) => {
    assert.deepEqual([...answer], [...(asked[at] as Uint8Array), ...(asked[at] as Uint8Array)])
  })
})

test('control questions do not wait behind bulk', async (t) => {
  const [a, b] = await startPair(t)
  const chunk = new Uint8Array(1024 * 1024).fill(1)
  b.answer('chunk', () => chunk)
  b.answer('small', () => EMPTY)
  let bulk = 0
  const pulls = Array.from({ length: 2 }, async () => {
    for (let at = 0; at < 30; at++) {
      await a.ask(b.self, 'chunk', EMPTY, { maxAnswer: chunk.byteLength, timeout: 60_000 })
      bulk++
    }
  })
  await until(() => bulk > 2, 'bulk to flow')
  const before = bulk
  await a.ask(b.self, 'small', EMPTY, { timeout: 60_000 })
  assert.ok(bulk - before < 20, `${bulk - before} chunks went before the small answer`)
  await Promise.all(pulls)
})

test('a time-out and an abort reach the answerer, and the lane goes on', async (t) => {
  const [a, b] = await startPair(t)
  const { state, answerer } = patient()
  b.answer('wait', answerer)
  b.answer('echo', (_from, question) => question)
  await a.ask(b.self, 'echo', EMPTY)
  assert.equal(await codeOf(a.ask(b.self, 'wait', EMPTY, { timeout: 1_000 })), 'ask-timeout')
  await until(() => state.stopped === 1, 'the answerer to be told')
  const controller = new AbortController()
  const asked = codeOf(a.ask(b.self, 'wait', EMPTY, { signal: controller.signal }))
  await until(() => state.started === 2, 'the second question')
  controller.abort()
  assert.equal(await asked, 'aborted')
  await until(() => state.stopped === 2, 'the answerer to be told again')
  assert.deepEqual([...(await a.ask(b.self, 'echo', Uint8Array.of(5)))], [5])
  assert.equal(await codeOf(a.ask(b.self, 'echo', EMPTY, { signal: controller.signal })), 'aborted')
})

test("questions beyond the lane's depth wait, and can be given up while they wait", async (t) => {
  const [a, b] = await startPair(t)
  const { state, answerer } = patient()
  b.answer('wait', answerer)
  const stop = new AbortController()
  const running = Array.from({ length: LANES.bulk.depth }, () =>
    codeOf(a.ask(b.self, 'wait', EMPTY, { maxAnswer: 1e6, signal: stop.signal })),
  )
  await until(() => state.started === LANES.bulk.depth, 'the lane to be full')
  const queued = new AbortController()
  const waiting = codeOf(a.ask(b.self, 'wait', EMPTY, { maxAnswer: 1e6, signal: queued.signal }))
  queued.abort()
  assert.equal(await waiting, 'aborted')
  assert.equal(await codeOf(a.ask(b.self, 'wait', EMPTY, { maxAnswer: 1e6, timeout: 30 })), 'ask-timeout')
  assert.equal(state.started, LANES.bulk.depth)
  stop.abort()
  assert.deepEqual(
    await Promise.all(running),
    running.map(() => 'aborted'),
  )
})

test('a question can be given up while the stream opens and while the answer comes', async (t) => {
  const [a, b] = await startPair(t)
  b.answer('chunk', () => new Uint8Array(1024 * 1024))
  const early = new AbortController()
  const opening = codeOf(a.ask(b.self, 'chunk', EMPTY, { maxAnswer: 1024 * 1024, signal: early.signal }))
  early.abort()
  assert.equal(await opening, 'aborted')
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController()
    const received = a.counters().wire.received
    const asked = a.ask(b.self, 'chunk', EMPTY, { maxAnswer: 1024 * 1024, signal: controller.signal }).then(
      () => 'answered',
      (error: { code: string }) => error.code,
    )
    await until(() => a.counters().wire.received > received + 10_000, 'some of the answer')
    controller.abort()
    assert.ok(['aborted', 'answered'].includes(await asked))
  }
  assert.equal((await a.ask(b.self, 'chunk', EMPTY, { maxAnswer: 1024 * 1024 })).byteLength, 1024 * 1024)
})

test('a peer that dies before or in the middle of its answer fails the question, not the asker', async (t) => {
  const [a, b] = await startPair(t)
  const { state, answerer } = patient()
  b.answer('wait', answerer)
  b.answer('chunk', () => new Uint8Array(1024 * 1024))
  const waiting = codeOf(a.ask(b.self, 'wait', EMPTY))
  await until(() => state.started === 1, 'the question')
  const received = a.counters().wire.received
  const pulling = Array.from({ length: 20 }, () =>
    a.ask(b.self, 'chunk', EMPTY, { maxAnswer: 1024 * 1024 }).then(
      () => 'answered',
      (error: { code: string }) => error.code,
    ),
  )
  await until(() => a.counters().wire.received > received + 100_000, 'some of an answer')
  for (const connection of b.host.getConnections()) connection.abort(new Error('killed'))
  assert.equal(await waiting, 'peer-unreachable')
  const codes = await Promise.all(pulling)
  assert.ok(codes.includes('peer-unreachable'))
  assert.ok(codes.every((code) => code === 'answered' || code === 'peer-unreachable'))
  await until(() => state.stopped === 1, 'the answerer to be told')
  await until(() => a.seen.some((event) => event.kind === 'disconnected'), 'the disconnection')
  await until(() => a.connected().includes(b.self), 'the peer manager to connect again')
  assert.equal((await a.ask(b.self, 'chunk', EMPTY, { maxAnswer: 1024 * 1024 })).byteLength, 1024 * 1024)
})

test('more questions than the rate are refused with a reason, and the rest is answered', async (t) => {
  const [a, b] = await startPair(t, { rates: { perPeer: 5, perPeerBurst: 50 } })
  b.answer('echo', (_from, question) => question)
  // A hello or two have cost a part of the burst already.
  const codes = await Promise.all(
    Array.from({ length: 80 }, () =>
      a.ask(b.self, 'echo', EMPTY).then(
        () => 'answered',
        (error: { code: string }) => error.code,
      ),
    ),
  )
  assert.ok(codes.filter((code) => code === 'answered').length >= 10)
  assert.ok(codes.filter((code) => code === 'rate-limited').length >= 30)
  assert.ok((b.counters().rejected['rate-limit'] ?? 0) >= 30)
  assert.deepEqual(b.bans(), [])
})

test('stopping ends what is asked and what is answered', async (t) => {
  const [a, b] = await startPair(t)
  const { state, answerer } = patient()
  b.answer('wait', answerer)
  const asked = codeOf(a.ask(b.self, 'wait', EMPTY))
  await until(() => state.started === 1, 'the question')
  await Promise.all([a.stop(), a.stop()])
  assert.equal(await asked, 'peer-unreachable')
  assert.equal(await codeOf(a.ask(b.self, 'wait', EMPTY)), 'peer-unreachable')
  await until(() => state.stopped === 1, 'the answerer to be told')
  await until(() => b.connected().length === 0, 'the disconnection')
})
