/** The ways in which libp2p's streams betray their users, each with a test that this layer does not fall into it. */
import '../shims.ts'
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { streamPair } from '@libp2p/utils'
import { ASK_PROTOCOL } from './ask.ts'
import { ANSWER, encodeHead, type Frame, FrameReader, MAX_ANSWER, QUESTION } from './frames.ts'
import { AskLane, LANES, type LaneParts, READY } from './lane.ts'
import { codeOf, reasons, startPair, type TestNode, until } from './testing.ts'
import { FrameWriter } from './writer.ts'

const EMPTY = new Uint8Array(0)

/** A stream of the ask protocol opened by hand, its bytes collected. */
async function openByHand(
  from: TestNode,
  to: TestNode,
): Promise<{ stream: Stream; received: Uint8Array[]; frames: Frame[] }> {
  const connection = from.host.getConnections().find((one) => one.remotePeer.toString() === to.self)
  const stream = await (connection as NonNullable<typeof connection>).newStream(ASK_PROTOCOL)
  const received: Uint8Array[] = []
  const frames: Frame[] = []
  const reader = new FrameReader({ accept: () => 'keep', frame: (frame) => frames.push(frame) })
  stream.addEventListener('message', (event: StreamMessageEvent) => {
    const data = event.data.subarray()
    reader.push(received.length === 0 ? data.subarray(1) : data)
    received.push(data)
  })
  await until(() => received.length > 0, 'the ready byte')
  assert.equal(received[0]?.[0], READY)
  return { stream, received, frames }
}

/** A stream of no protocol of ours between two nodes, with real flow control. */
async function plainStream(t: TestContext): Promise<[Stream, Stream]> {
  const [a, b] = await startPair(t)
  const remotes: Stream[] = []
  await b.host.handle('/test/plain/1', (stream) => void remotes.push(stream))
  const local = await a.host.dialProtocol(b.host.peerId, '/test/plain/1')
  await until(() => remotes.length > 0, 'the stream')
  return [local, remotes[0] as Stream]
}

const laneOver = (stream: Stream, parts: Partial<LaneParts> = {}): AskLane =>
  new AskLane({ lane: 'bulk', open: async () => stream, fault: () => {}, count: () => {}, ...parts })

test('onDrain: a writer waits for a slow reader each time, not only once', async (t) => {
  const [local, remote] = await plainStream(t)
  let taken = 0
  // Reads for a moment, then rests; pausing is for this test's reader only.
  const slow = setInterval(() => {
    remote.resume()
    remote.pause()
  }, 2)
  t.after(() => clearInterval(slow))
  remote.addEventListener('message', (event: StreamMessageEvent) => {
    taken += event.data.byteLength
  })
  remote.pause()
  const failures: Error[] = []
  const writer = new FrameWriter(local, (error) => failures.push(error))
  const answer = new Uint8Array(1024 * 1024)
  const total = 8
  let buffered = 0
  for (let at = 0; at < total; at++) writer.write(encodeHead(ANSWER, at, answer.byteLength), answer)
  await until(() => {
    buffered = Math.max(buffered, local.writeBufferLength)
    return taken >= total * answer.byteLength
  }, 'everything to arrive')
  assert.deepEqual(failures, [])
  assert.ok(buffered <= 256 * 1024, `${buffered} bytes in the stream's buffer`)
})

test('onDrain: a reader that stops reading costs the writer a slice, and then the stream', async (t) => {
  const [local, remote] = await plainStream(t)
  remote.pause()
  const failures: Error[] = []
  const writer = new FrameWriter(local, (error) => failures.push(error), 100)
  for (let at = 0; at < 4; at++) writer.write(encodeHead(ANSWER, at, MAX_ANSWER), new Uint8Array(MAX_ANSWER))
  let buffered = 0
  await until(() => {
    buffered = Math.max(buffered, local.writeBufferLength)
    return failures.length > 0
  }, 'the writer to give up')
  assert.equal((failures[0] as Error & { code: string }).code, 'peer-stalled')
  assert.ok(buffered <= 256 * 1024, `${buffered} bytes in the stream's buffer`)
})

test('ready byte: nothing is written to a fresh stream before the answering end listens', async (t) => {
  const [local, remote] = await streamPair()
  t.after(() => local.abort(new Error('done')))
  const lane = laneOver(local)
  t.after(() => lane.close())
  const asked = Array.from({ length: 5 }, () =>
    lane.ask({ method: 'echo', question: new Uint8Array(60_000), timeout: 5_000, maxAnswer: 10 }),
  )
  for (const one of asked) one.catch(() => {})
  // The handler starts late: whatever was sent until now lies in its buffer.
  await delay(100)
  assert.equal(remote.readBufferLength + local.writeBufferLength, 0)
  let taken = 0
  remote.addEventListener('message', (event: StreamMessageEvent) => {
    taken += event.data.byteLength
  })
  remote.send(Uint8Array.of(READY))
  await until(() => taken > 100_000, 'the questions')
  await delay(50)
  assert.ok(taken < 2 * 60_100 + 1, `${taken} bytes: no more than the lane's depth allows`)
  assert.equal(lane.outstanding, LANES.bulk.depth)
})

test('ready byte: an answering end that never gets ready fails the questions in time', async (t) => {
  const [local] = await streamPair()
  const lane = laneOver(local, { openTimeout: 50 })
  t.after(() => lane.close())
  assert.equal(
    await codeOf(lane.ask({ method: 'echo', question: EMPTY, timeout: 5_000, maxAnswer: 10 })),
    'peer-unreachable',
  )
  assert.equal(local.status, 'aborted')
})

test('unbounded reading: what may be on its way to a slow consumer is bounded by what it asked for', async (t) => {
  const [a, b] = await startPair(t)
  const chunk = new Uint8Array(1024 * 1024)
  b.answer('chunk', () => chunk)
  let unused = 0
  let most = 0
  let next = 0
  const received = a.counters().ask.chunk?.received ?? 0
  const worker = async (): Promise<void> => {
    while (next++ < 12) {
      const answer = await a.ask(b.self, 'chunk', EMPTY, { maxAnswer: chunk.byteLength, timeout: 60_000 })
      unused += answer.byteLength
      most = Math.max(most, unused)
      await delay(10)
      unused -= answer.byteLength
    }
  }
  await Promise.all([worker(), worker()])
  assert.ok(most <= 2 * chunk.byteLength)
  assert.ok((a.counters().ask.chunk?.received ?? 0) - received >= 12 * chunk.byteLength)
})

test('unbounded reading: bytes that nobody asked for end the stream at once', async (t) => {
  const [local, remote] = await streamPair()
  const faults: string[] = []
  const lane = laneOver(local, { fault: (reason) => faults.push(reason) })
  t.after(() => lane.close())
  const asked = codeOf(lane.ask({ method: 'echo', question: EMPTY, timeout: 5_000, maxAnswer: 10 }))
  remote.send(Uint8Array.of(READY))
  await until(() => lane.outstanding === 1, 'the question')
  remote.send(encodeHead(ANSWER, 999, MAX_ANSWER))
  assert.equal(await asked, 'peer-unreachable')
  assert.deepEqual(faults, ['malformed-frame'])
  assert.equal(local.status, 'aborted')
})

test('pausing: reading is never paused, and no amount of answers on one stream resets it', async (t) => {
  const [a, b] = await startPair(t)
  const chunk = new Uint8Array(1024 * 1024)
  b.answer('chunk', () => chunk)
  await a.ask(b.self, 'chunk', EMPTY, { maxAnswer: chunk.byteLength })
  const streams = a.host
    .getConnections()
    .flatMap((one) => one.streams.filter((stream) => stream.protocol === ASK_PROTOCOL))
  let paused = 0
  for (const stream of streams) {
    const pause = stream.pause.bind(stream)
    stream.pause = () => {
      paused++
      pause()
    }
  }
  for (let at = 0; at < 24; at += 2) {
    await Promise.all([0, 1].map(() => a.ask(b.self, 'chunk', EMPTY, { maxAnswer: chunk.byteLength, timeout: 60_000 })))
  }
  assert.equal(paused, 0)
  const now = a.host.getConnections().flatMap((one) => one.streams.filter((stream) => stream.protocol === ASK_PROTOCOL))
  assert.deepEqual(now.map((stream) => stream.id).sort(), streams.map((stream) => stream.id).sort())
  assert.ok(streams.every((stream) => stream.status === 'open'))
})

test('an asker that does not read its answers makes the answering end hold no more than the lane allows', async (t) => {
  const [a, b] = await startPair(t)
  const chunk = new Uint8Array(1024 * 1024)
  b.answer('chunk', () => chunk)
  const { stream } = await openByHand(a, b)
  stream.pause()
  stream.send(Uint8Array.of(LANES.bulk.mark))
  const most = LANES.bulk.depth * MAX_ANSWER + 256 * 1024
  // The window may have grown; what fits it lies in the asker's own memory. Then one more than allowed is no honest asker's doing.
  stream.maxReadBufferLength = 256 * 1024 * 1024
  for (let id = 1; id < 100 && stream.status === 'open'; id++) {
    stream.send(encodeHead(QUESTION, id, 0, 'chunk', chunk.byteLength))
    await delay(5)
    assert.ok(b.asks.buffered <= most, `${b.asks.buffered} bytes held`)
  }
  await until(() => reasons(b, a.self).includes('too-many-questions'), 'the refusal')
  await until(() => b.asks.buffered === 0, 'everything to be let go')
})

test('boundaries: questions in single bytes, and many in one piece, are understood', async (t) => {
  const [a, b] = await startPair(t)
  b.answer('echo', (_from, question) => question)
  const { stream, frames } = await openByHand(a, b)
  const frame = (id: number, body: number[]): Buffer =>
    Buffer.concat([encodeHead(QUESTION, id, body.length, 'echo', 100), Uint8Array.from(body)])
  for (const byte of Buffer.concat([Uint8Array.of(LANES.control.mark), frame(1, [1, 2, 3])])) {
    stream.send(Uint8Array.of(byte))
    await delay(0)
  }
  await until(() => frames.length === 1, 'the first answer')
  stream.send(Buffer.concat([2, 3, 4, 5, 6].map((id) => frame(id, [id, id]))))
  await until(() => frames.length === 6, 'all answers')
  const answers = frames
    .map((one) => [one.kind, one.id, ...one.body])
    .sort((x, y) => (x[1] as number) - (y[1] as number))
  assert.deepEqual(answers, [[ANSWER, 1, 1, 2, 3], ...[2, 3, 4, 5, 6].map((id) => [ANSWER, id, id, id])])
  assert.deepEqual(reasons(b, a.self), [])
  stream.abort(new Error('done'))
})

test("ping: the monitor's pings, many a second and answered late, harm neither connections nor questions", async (t) => {
  const [a, b] = await startPair(t, { pingMilliseconds: 50 })
  b.answer('echo', (_from, question) => question)
  const connections = a.host.getConnections().map((one) => one.id)
  for (let at = 0; at < 50; at++) {
    await a.ask(b.self, 'echo', Uint8Array.of(at))
    await delay(5)
  }
  await until(() => a.host.getConnections().every((one) => one.rtt !== undefined), 'a ping to be answered')
  assert.deepEqual(
    a.host.getConnections().map((one) => one.id),
    connections,
  )
  assert.deepEqual(
    a.seen.filter((event) => event.kind === 'disconnected' || event.kind === 'rejected'),
    [],
  )
})
