import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { exp, log } from './portable-math.ts'
import { seededRandom } from './random.ts'

test('a seed gives the same numbers again, on every machine', () => {
  const random = seededRandom('known', 7)
  const drawn = [random.bits(), random.bits(), random.integer(10), random.normal()]
  const again = seededRandom('known', 7)
  assert.deepEqual([again.bits(), again.bits(), again.integer(10), again.normal()], drawn)
  assert.deepEqual(drawn, KNOWN)
})

test('parts are told apart by type and border, and neighbours are unrelated', () => {
  const first = (...parts: (string | number)[]) => seededRandom(...parts).bits()
  const seen = new Set([
    first(1),
    first('1'),
    first(1, 1),
    first(11),
    first('1', ''),
    first('', '1'),
    first('a', 'b'),
    first('ab'),
  ])
  assert.equal(seen.size, 8)
  const many = new Set(Array.from({ length: 20_000 }, (_, i) => seededRandom('batch', i).bits()))
  assert.ok(many.size > 19_990, `${many.size} different first numbers of 20,000 streams`)
})

test('uniform, integer and normal have the moments they should have', () => {
  const random = seededRandom('moments')
  const count = 200_000
  let uniform = 0
  let mean = 0
  let square = 0
  let fourth = 0
  const counts = new Array<number>(7).fill(0)
  for (let i = 0; i < count; i++) {
    uniform += random.uniform()
    const x = random.normal()
    mean += x
    square += x * x
    fourth += x ** 4
    counts[random.integer(7)]!++
  }
  // Five standard errors each.
  assert.ok(Math.abs(uniform / count - 0.5) < (5 * 0.289) / Math.sqrt(count))
  assert.ok(Math.abs(mean / count) < 5 / Math.sqrt(count))
  assert.ok(Math.abs(square / count - 1) < (5 * Math.SQRT2) / Math.sqrt(count))
  assert.ok(Math.abs(fourth / count - 3) < (5 * Math.sqrt(96)) / Math.sqrt(count))
  for (const seen of counts) assert.ok(Math.abs(seen - count / 7) < 5 * Math.sqrt(count / 7))
})

test('an integer needs a bound from 1 to 2^32', () => {
  for (const bound of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN])
    assert.throws(() => seededRandom('x').integer(bound), RangeError)
  assert.equal(seededRandom('x').integer(1), 0)
})

test('log and exp agree with Math to 14 digits', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-300, max: 1e300, noNaN: true }), (x) => {
      assert.ok(Math.abs(log(x) - Math.log(x)) <= 1e-14 * Math.max(1, Math.abs(Math.log(x))))
    }),
  )
  fc.assert(
    fc.property(fc.double({ min: -700, max: 700, noNaN: true }), (x) => {
      assert.ok(Math.abs(exp(x) / Math.exp(x) - 1) < 1e-12)
    }),
  )
  assert.throws(() => log(0), RangeError)
  assert.throws(() => log(Number.NaN), RangeError)
  assert.equal(exp(-1000), 0)
})

/** Of seededRandom('known', 7), written down once. */
const KNOWN = [2108858601, 3486885825, 1, -1.643007510614655]
