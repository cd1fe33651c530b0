import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import {
  ANSWER,
  CANCEL,
  decodeHeader,
  encodeHead,
  FAILURE,
  type Frame,
  FrameError,
  FrameReader,
  HEADER_BYTES,
  MAX_ANSWER,
  MAX_QUESTION,
  MAX_TEXT,
  QUESTION,
} from './frames.ts'

const reader = (frames: Frame[]): FrameReader =>
  new FrameReader({ accept: () => 'keep', frame: (frame) => frames.push(frame) })

const frameArbitrary = fc.oneof(
  fc.record({
    kind: fc.constant(QUESTION),
    text: fc.constantFrom('echo', 'blob/chunk'),
    body: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({ kind: fc.constant(CANCEL), text: fc.constant(''), body: fc.constant(new Uint8Array(0)) }),
  fc.record({ kind: fc.constant(ANSWER), text: fc.constant(''), body: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({
    kind: fc.constant(FAILURE),
    text: fc.constantFrom('internal', 'busy'),
    body: fc.uint8Array({ maxLength: 100 }),
  }),
)

test('frames survive any cutting of the stream', () => {
  fc.assert(
    fc.property(
      fc.array(frameArbitrary, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (sent, cuts) => {
        const whole = Buffer.concat(
          sent.flatMap((one, id) => [encodeHead(one.kind, id, one.body.byteLength, one.text), one.body]),
        )
        const frames: Frame[] = []
        const target = reader(frames)
        for (let at = 0, cut = 0; at < whole.byteLength; cut++) {
          const length = cuts[cut % cuts.length] as number
          const piece = whole.subarray(at, at + length)
          // Every second piece comes as a list of two, as yamux delivers them.
          target.push(cut % 2 === 0 ? piece : new Uint8ArrayList(piece.subarray(0, 1), piece.subarray(1)))
          at += length
        }
        assert.equal(target.idle, true)
        assert.deepEqual(
          frames.map(({ kind, id, text, body }) => ({ kind, id, text, body: [...body] })),
          sent.map(({ kind, text, body }, id) => ({ kind, id, text, body: [...body] })),
        )
      },
    ),
  )
})

test('random bytes are refused or waited for, and never make the reader hold more than one frame', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (pieces) => {
      const target = reader([])
      try {
        for (const piece of pieces) {
          target.push(piece)
          assert.ok(target.buffered <= HEADER_BYTES + MAX_TEXT + MAX_ANSWER)
        }
      } catch (error) {
        assert.ok(error instanceof FrameError, String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('sizes are refused before anything is allocated for them', () => {
  const cases: [string, Uint8Array][] = [
    ['too-large', encodeHead(QUESTION, 1, MAX_QUESTION + 1, 'echo')],
    ['too-large', encodeHead(ANSWER, 1, MAX_ANSWER + 1)],
    ['too-large', encodeHead(ANSWER, 1, 0xffff_ffff)],
    ['too-large', encodeHead(FAILURE, 1, 1_025, 'internal')],
    ['too-large', encodeHead(CANCEL, 1, 1)],
    ['malformed-frame', encodeHead(QUESTION, 1, 0, '')],
    ['malformed-frame', encodeHead(ANSWER, 1, 0, 'echo')],
    ['malformed-frame', encodeHead(QUESTION, 1, 0, 'x'.repeat(MAX_TEXT + 1))],
    ['malformed-frame', encodeHead(QUESTION, 1, 0, 'ECHO!')],
    ['malformed-frame', encodeHead(QUESTION, 1, 0, 'echo', MAX_ANSWER + 1)],
    ['malformed-frame', encodeHead(ANSWER, 1, 0, '', 1)],
    ['malformed-frame', encodeHead(0, 1, 0)],
    ['malformed-frame', encodeHead(99, 1, 0)],
  ]
  for (const [reason, head] of cases) {
    const target = reader([])
    assert.throws(() => target.push(head), { name: 'FrameError', reason })
    assert.ok(target.buffered <= HEADER_BYTES + MAX_TEXT)
  }
  assert.equal(decodeHeader(encodeHead(QUESTION, 7, MAX_QUESTION, 'echo', MAX_ANSWER)).limit, MAX_ANSWER)
})

test('a body that is not wanted is read past without being kept', () => {
  const frames: Frame[] = []
  let skip = true
  const target = new FrameReader({ accept: () => (skip ? 'skip' : 'keep'), frame: (frame) => frames.push(frame) })
  target.push(encodeHead(ANSWER, 1, 1_000_000))
  target.push(new Uint8Array(999_999))
  assert.ok(target.buffered < 100)
  skip = false
  target.push(Buffer.concat([new Uint8Array(1), encodeHead(ANSWER, 2, 3), Uint8Array.of(7, 8, 9)]))
  assert.deepEqual(
    frames.map((frame) => [frame.id, ...frame.body]),
    [[1], [2, 7, 8, 9]],
  )
})
