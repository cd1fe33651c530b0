import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import fc from 'fast-check'
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { defineMessage, structureFault } from './index.ts'

const greeting = defineMessage(
  'greeting',
  z.strictObject({
    name: z.string().max(40),
    count: z.number().int().min(0),
    loss: z.number().optional(),
    bytes: z.instanceof(Uint8Array),
    list: z.array(z.number()).max(100),
  }),
  { maxBytes: 2048 },
)

const isBad = (reason?: RegExp) => (error: unknown) =>
  error instanceof StarlingError &&
  error.code === 'bad-message' &&
  error.data.name === 'greeting' &&
  (reason === undefined || reason.test(String(error.data.reason)))

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))

const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value))

const value = fc.record(
  {
    name: fc.string({ unit: 'grapheme', maxLength: 12 }),
    count: fc.nat(),
    loss: finite,
    bytes: fc.uint8Array({ maxLength: 64 }),
    list: fc.array(finite, { maxLength: 20 }),
  },
  { requiredKeys: ['name', 'count', 'bytes', 'list'] },
)

test('what is encoded is decoded to the same value, and equal values have equal bytes', () => {
  fc.assert(
    fc.property(value, (given) => {
      const bytes = greeting.encode(given)
      assert.deepEqual(greeting.decode(bytes), { ...given })
      const reversed = Object.fromEntries(Object.entries(given).reverse()) as typeof given
      assert.deepEqual(greeting.encode(reversed), bytes)
    }),
    { numRuns: 1000, seed: 1 },
  )
})

test('random, changed and cut bytes are decoded canonically or refused, and never crash', () => {
  const random = seededRandom('wire fuzz')
  const good = greeting.encode({
    name: 'x',
    count: 300,
    loss: 1.5,
    bytes: new Uint8Array(30),
    list: [1, 2, 3.5, -1e300],
  })
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    let bytes: Uint8Array
    if (round % 3 === 0) {
      bytes = Uint8Array.from({ length: random.integer(80) }, () => random.integer(256))
    } else {
      bytes = good.slice(0, round % 3 === 1 ? good.length : random.integer(good.length))
      for (let flips = random.integer(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[random.integer(bytes.length)] = random.integer(256)
      }
    }
    try {
      const decoded = greeting.decode(bytes)
      accepted++
      assert.deepEqual(greeting.encode(decoded), bytes)
    } catch (error) {
      assert.ok(isBad()(error), String(error))
    }
  }
  assert.ok(accepted > 100, `only ${accepted} of the changed messages were still good: the fuzz looks at one path only`)
})

test('bytes that are not canonical are refused', () => {
  const cases: [string, string, RegExp][] = [
    ['indefinite array', '9f01ff', /indefinite/],
    ['indefinite map', 'bf616101ff', /indefinite/],
    ['long form of a small number', '1817', /shortest/],
    ['long form of a length', '58 01 00', /shortest/],
    ['undefined', 'f7', /simple/],
    ['short float', 'f93c00', /short float/],
    ['NaN', 'fb7ff8000000000000', /finite/],
    ['infinity', 'fb7ff0000000000000', /finite/],
    ['a tag', 'c001', /tag/],
    ['number beyond 2^53', '1bffffffffffffffff', /2\^53/],
    ['key that is not text', 'a10101', /key/],
    ['two values', '0101', /after its end/],
    ['nothing', '', /too early/],
    ['a list that claims 2^32 - 1 values', '9affffffff', /too early/],
    ['bytes that claim 2^32 - 1 bytes', '5affffffff', /too early/],
    ['deep nesting', '81'.repeat(2000), /nested/],
    ['the same key twice', 'a2616101616102', /repeat/],
    ['keys out of order', 'a2616201616101', /canonical/],
    ['text that is not UTF-8', '62c328', /canonical/],
    ['a whole number as a double', 'fb3ff0000000000000', /canonical/],
  ]
  for (const [name, bytes, reason] of cases) {
    assert.throws(() => greeting.decode(hex(bytes)), isBad(reason), name)
  }
})

test('a key named __proto__ is an undeclared key like any other', () => {
  const bytes = encode(JSON.parse('{"__proto__": 1, "name": "x", "count": 1, "list": []}'))
  assert.throws(() => greeting.decode(bytes), isBad())
})

test('limits hold on both sides', () => {
  const long = { name: 'x', count: 0, bytes: new Uint8Array(4096), list: [] }
  assert.throws(() => greeting.encode(long), isBad(/more than 2048/))
  assert.throws(() => greeting.decode(new Uint8Array(4096)), isBad(/more than 2048/))
  assert.throws(() => greeting.encode({ name: 'x', count: -1, bytes: new Uint8Array(), list: [] }), isBad(/count/))
  assert.throws(
    () => greeting.encode({ name: 'x', count: 1, bytes: new Uint8Array(), list: [Number.NaN] }),
    isBad(/list.0/),
  )
  assert.equal(structureFault(encode([1, 2, 3]), { maxDepth: 1, maxItems: 4 }), undefined)
  assert.match(structureFault(encode([1, 2, 3]), { maxDepth: 1, maxItems: 3 }) ?? '', /more than 3 values/)
  assert.match(structureFault(encode([[]]), { maxDepth: 1, maxItems: 10 }) ?? '', /nested/)
})
