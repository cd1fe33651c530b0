import '../shims.ts'
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { streamPair } from '@libp2p/utils'
import { StarlingError } from '../../protocols/index.ts'
import { ANSWER, CANCEL, encodeHead, FAILURE, type Frame, FrameReader, QUESTION } from './frames.ts'
import { AskLane, LANES } from './lane.ts'
import { type AskServer, type ServerParts, serve } from './server.ts'
import { codeOf, until } from './testing.ts'

const EMPTY = new Uint8Array(0)
const CONTROL = Uint8Array.of(LANES.control.mark)

/** A served stream, and the other end of it with the frames it was sent. */
async function served(
  t: TestContext,
  parts: Partial<ServerParts>,
): Promise<{ asker: Stream; server: AskServer; frames: Frame[]; faults: string[] }> {
  const [asker, stream] = await streamPair()
  t.after(() => asker.abort(new Error('done')))
  const frames: Frame[] = []
  const faults: string[] = []
  const reader = new FrameReader({ accept: () => 'keep', frame: (frame) => frames.push(frame) })
  let ready = false
  asker.addEventListener('message', (event: StreamMessageEvent) => {
    reader.push(ready ? event.data : event.data.subarray(1))
    ready = true
  })
  const server = serve(stream, {
    answer: async (_method, question) => question,
    fault: (reason) => faults.push(reason),
    count: () => {},
    closed: () => {},
    ...parts,
  })
  await until(() => ready, 'the ready byte')
  return { asker, server, frames, faults }
}

test('an asker that never names its lane, or never ends its question, is dropped in time', async (t) => {
  const silent = await served(t, { receiveTimeout: 50 })
  await until(() => silent.asker.status !== 'open', 'the silent one to be dropped')
  assert.deepEqual(silent.faults, ['too-slow'])
  // Long enough that a busy machine sends both of these in time.
  const slow = await served(t, { receiveTimeout: 700 })
  slow.asker.send(CONTROL)
  slow.asker.send(encodeHead(QUESTION, 1, 10, 'echo', 10).subarray(0, 7))
  await until(() => slow.asker.status !== 'open', 'the slow one to be dropped')
  assert.deepEqual(slow.faults, ['too-slow'])
})

test('an idle stream is kept, and a slow answer does not hold up a quick one', async (t) => {
  let release: (() => void) | undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const { asker, frames } = await served(t, {
    receiveTimeout: 500,
    answer: async (method, question) => {
      if (method === 'slow') await held
      return question
    },
  })
  asker.send(CONTROL)
  await new Promise((resolve) => setTimeout(resolve, 700))
  assert.equal(asker.status, 'open')
  asker.send(
    Buffer.concat([encodeHead(QUESTION, 1, 0, 'slow', 9), encodeHead(QUESTION, 2, 1, 'quick', 9), Uint8Array.of(8)]),
  )
  await until(() => frames.length === 1, 'the quick answer')
  assert.deepEqual([frames[0]?.kind, frames[0]?.id, ...(frames[0]?.body ?? [])], [ANSWER, 2, 8])
  release?.()
  await until(() => frames.length === 2, 'the slow answer')
  assert.equal(frames[1]?.id, 1)
})

test('a cancelled question is settled as aborted, and its place is free again', async (t) => {
  const { asker, frames, server } = await served(t, {
    answer: (_method, _question, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped')))),
  })
  asker.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 0, 'wait', 9), encodeHead(CANCEL, 1, 0)]))
  await until(() => frames.length === 1, 'the failure')
  assert.deepEqual([frames[0]?.kind, frames[0]?.text], [FAILURE, 'aborted'])
  assert.equal(server.open, 0)
})

test('what an answerer must not return becomes a failure, not an exception', async (t) => {
  const results: Record<string, () => unknown> = {
    nothing: () => undefined,
    long: () => new Uint8Array(10),
    coded: () => {
      throw new StarlingError('piece-unknown', 'x'.repeat(5_000))
    },
    odd: () => {
      throw new StarlingError('Not A Code', 'hm')
    },
    string: () => {
      throw 'text'
    },
  }
  const { asker, frames } = await served(t, { answer: async (method) => results[method]?.() as Uint8Array })
  asker.send(CONTROL)
  for (const [id, method] of Object.keys(results).entries()) asker.send(encodeHead(QUESTION, id, 0, method, 9))
  await until(() => frames.length === 5, 'all failures')
  const codes = frames.sort((a, b) => a.id - b.id).map((frame) => frame.text)
  assert.deepEqual(codes, ['internal', 'answer-too-large', 'piece-unknown', 'internal', 'internal'])
  assert.ok(frames.every((frame) => frame.kind === FAILURE && frame.bodyLength <= 1_024))
})

test('a lane whose stream breaks opens another; what was sent fails, what waited is asked again', async (t) => {
  const opened: Stream[] = []
  const lane = new AskLane({
    lane: 'bulk',
    fault: () => {},
    count: () => {},
    open: async () => {
      const [asker, stream] = await streamPair()
      const broken = opened.length === 0
      opened.push(asker)
      serve(stream, {
        answer: async (_method, question) => (broken ? new Promise(() => {}) : question),
        fault: () => {},
        count: () => {},
        closed: () => {},
      })
      return asker
    },
  })
  t.after(() => lane.close())
  const ask = (value: number): Promise<Uint8Array> =>
    lane.ask({ method: 'echo', question: Uint8Array.of(value), timeout: 5_000, maxAnswer: 9 })
  const lost = [codeOf(ask(1)), codeOf(ask(2))]
  const kept = [ask(3), ask(4), ask(5)]
  await until(() => lane.outstanding === 2, 'the lane to be full')
  opened[0]?.abort(new Error('broken'))
  assert.deepEqual(await Promise.all(lost), ['peer-unreachable', 'peer-unreachable'])
  assert.deepEqual(
    (await Promise.all(kept)).map((answer) => answer[0]),
    [3, 4, 5],
  )
  assert.equal(opened.length, 2)
})

test('a peer that never settles a cancelled question loses its stream', async (t) => {
  const streams: Stream[] = []
  const lane = new AskLane({
    lane: 'control',
    cancelGrace: 50,
    fault: () => {},
    count: () => {},
    open: async () => {
      const [asker, stream] = await streamPair()
      streams.push(asker)
      serve(stream, { answer: () => new Promise(() => {}), fault: () => {}, count: () => {}, closed: () => {} })
      return asker
    },
  })
  t.after(() => lane.close())
  assert.equal(await codeOf(lane.ask({ method: 'hang', question: EMPTY, timeout: 30, maxAnswer: 9 })), 'ask-timeout')
  // The grace timer alone does not keep a process alive; this does.
  await until(() => streams[0]?.status !== 'open', 'the stream to be given up')
  assert.equal(lane.outstanding, 0)
})
