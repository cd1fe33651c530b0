import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { toHex } from '../../hash.ts'
import { CHUNK, createPace, follow, originOf, statementOf, walk } from './chain.ts'
import { contributions, RUN, unpaced } from './testing/fixtures.ts'

const start = { count: 0, hash: originOf(RUN, 'a') }

test('the chain is the one of the definition', async () => {
  let expected = Buffer.from(start.hash)
  const bytes = contributions(300)
  bytes.forEach((byte, index) => {
    const step = Buffer.alloc(8)
    step.writeBigUInt64LE(BigInt(index + 1))
    expected = createHash('sha256')
      .update(expected)
      .update(step)
      .update(Buffer.from([byte]))
      .digest()
  })
  const { head } = await follow(start, bytes, unpaced)
  assert.equal(toHex(head.hash), expected.toString('hex'))
  assert.equal(head.count, 300)
  // Golden: a change of this value is a change of every log on every disk.
  assert.equal(toHex(head.hash), '7bf39f9d831208c2813a41754430a3b897ab67fee8f2baf3983e0f9571609e26')
})

test('steps above 2^32 are hashed as 64 bits', () => {
  const far = (count: number): string => toHex(walk({ count, hash: start.hash }, contributions(1)))
  assert.notEqual(far(2 ** 32), far(0))
  assert.equal(far(2 ** 32), far(2 ** 32))
})

test('following in parts gives what following at once gives, anchors included', async () => {
  const bytes = contributions(3 * CHUNK + 5)
  const whole = await follow(start, bytes, unpaced)
  assert.equal(whole.anchors.length, 3)
  for (const cut of [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, bytes.length - 1]) {
    const first = await follow(start, bytes.subarray(0, cut), unpaced)
    const rest = await follow(first.head, bytes.subarray(cut), unpaced)
    assert.deepEqual(rest.head, whole.head)
    assert.deepEqual([...first.anchors, ...rest.anchors], whole.anchors)
  }
})

test('an author, a run, a count and a head each change what is signed', () => {
  const statements = [
    statementOf(originOf('a', 'bc'), start),
    statementOf(originOf('ab', 'c'), start),
    statementOf(originOf(RUN, 'a'), start),
    statementOf(originOf(RUN, 'a'), { ...start, count: 1 }),
    statementOf(originOf(RUN, 'a'), { ...start, hash: originOf(RUN, 'b') }),
  ]
  assert.equal(new Set(statements.map(toHex)).size, statements.length)
  assert.ok(
    statements.every((statement) => Buffer.from(statement).toString('latin1').startsWith('starling/spsa/head/1')),
  )
})

test('a long history is hashed in slices, with a turn for others after each', async () => {
  let turns = 0
  const pace = createPace({
    async sleep() {
      turns++
    },
  })
  await follow(start, contributions(10 * CHUNK), pace)
  assert.equal(turns, 10)
})
