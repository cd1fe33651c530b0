import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { FrameWatch, MAX_UNSENT, MAX_WINDOW } from './muxer.ts'
import { startPair, type TestNode, until, watchRejections } from './testing.ts'

/** A frame's header: version 0, type, flags, stream, length. */
function header(type: number, flags: number, stream: number, length: number): Uint8Array {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  view.setUint8(1, type)
  view.setUint16(2, flags)
  view.setUint32(4, stream)
  view.setUint32(8, length)
  return bytes
}

/** What is below the streams of a node's only connection. */
function lineOf(node: TestNode): { send(data: Uint8Array): boolean; status: string } {
  return (node.host.getConnections()[0] as unknown as { muxer: { maConn: never } })?.muxer.maConn
}

test('frames are read along with however they are cut', () => {
  const bytes = Buffer.concat([
    header(1, 1, 1, 0xffff_ffff), // a window, not data
    header(0, 0, 1, 30),
    new Uint8Array(30).fill(0xff),
    header(0, 0, 1, 0),
    header(2, 1, 0, 7),
    header(0, 0, 1, MAX_WINDOW),
  ])
  for (const size of [1, 5, 12, 13, bytes.length]) {
    const watch = new FrameWatch()
    for (let at = 0; at < bytes.length; at += size) watch.push(bytes.subarray(at, at + size))
    watch.push(new Uint8Array(MAX_WINDOW))
    assert.throws(() => watch.push(header(0, 0, 1, MAX_WINDOW + 1)), /at most/)
  }
})

test('a frame of 4 GiB costs its sender the connection at once, and fills no memory', async (t) => {
  const found = watchRejections(t)
  const [attacker, victim] = await startPair(t)
  const line = lineOf(attacker)
  line.send(header(0, 0, 1, 0xffff_ffff))
  await until(() => victim.counters().rejected['malformed-frame'] === 1, 'the refusal')
  await until(() => line.status !== 'open', 'the connection to be closed')
  // Held against the identity, and so against its address.
  assert.deepEqual(victim.standing(attacker.self).refused, { 'malformed-frame': 1 })
  assert.deepEqual(found, [])
})

test('so does sending without reading what the muxer answers', async (t) => {
  const found = watchRejections(t)
  const [attacker, victim] = await startPair(t)
  // As it is after some 350,000 pings, for which a test has no time.
  Object.defineProperty(lineOf(victim), 'writeBufferLength', { get: () => MAX_UNSENT + 1 })
  const line = lineOf(attacker)
  line.send(header(2, 1, 0, 7))
  await until(() => victim.counters().rejected['malformed-frame'] === 1, 'the refusal')
  await until(() => line.status !== 'open', 'the connection to be closed')
  assert.deepEqual(found, [])
})

test('a connection that ends while a stream is being opened breaks that stream and nothing else', async (t) => {
  const found = watchRejections(t)
  const [a, b] = await startPair(t)
  const [connection] = a.host.getConnections()
  const { muxer } = connection as unknown as { muxer: { createStream(): Promise<unknown> } }
  const opened = muxer.createStream()
  ;(lineOf(a) as unknown as { abort(error: Error): void }).abort(new Error('the line is cut'))
  await opened.catch(() => undefined)
  await until(() => b.host.getConnections().every((each) => each.status !== 'open'), 'the other side to notice')
  assert.deepEqual(found, [])
})

for (const [name, frame] of [
  ['a frame that is none', header(9, 0, 1, 0)],
  ['a ping', header(2, 1, 0, 7)],
] as const) {
  test(`${name}, and a line that has ended before it is answered, do not end the process`, async (t) => {
    const found = watchRejections(t)
    const [attacker, victim] = await startPair(t)
    const [line, answering] = [lineOf(attacker), lineOf(victim)]
    answering.send = () => {
      throw new Error('Cannot write to a stream that is closed')
    }
    line.send(frame)
    await until(() => victim.host.getConnections().length === 0 || answering.status !== 'open', 'the connection to end')
    await delay(20)
    assert.deepEqual(found, [])
  })
}
