import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom, shuffled } from './random.ts'
import { RateLimit } from './rate-limit.ts'

test('the same words give the same numbers, other words give others', () => {
  const draw = (...words: (string | number)[]): number[] => {
    const random = seededRandom(...words)
    return Array.from({ length: 20 }, () => random.integer(1000))
  }
  assert.deepEqual(draw('run', 1), draw('run', 1))
  assert.notDeepEqual(draw('run', 1), draw('run', 2))
  assert.notDeepEqual(draw('ab', 'c'), draw('a', 'bc'))
  assert.notDeepEqual(draw('1'), draw(1))
})

test('the numbers are those of the reference algorithm, on every machine', () => {
  const random = seededRandom('starling')
  assert.deepEqual(
    [random.integer(2 ** 32), random.integer(2 ** 32), random.integer(10), random.uniform()],
    [2_112_882_329, 1_968_366_041, 3, 0.7374377836298939],
  )
})

test('numbers are spread evenly over their range', () => {
  const random = seededRandom('spread')
  const counts = new Array<number>(7).fill(0)
  let sum = 0
  for (let draw = 0; draw < 70_000; draw++) {
    counts[random.integer(7)]!++
    const value = random.uniform()
    assert.ok(value >= 0 && value < 1)
    sum += value
  }
  // Standard deviation of a count is 93, of the mean 0.0011; the bounds are five of them.
  assert.ok(
    counts.every((count) => Math.abs(count - 10_000) < 465),
    String(counts),
  )
  assert.ok(Math.abs(sum / 70_000 - 0.5) < 0.0055, String(sum / 70_000))
  assert.throws(() => random.integer(0), RangeError)
  assert.throws(() => random.integer(1.5), RangeError)
})

test('shuffling keeps every item', () => {
  const items = Array.from({ length: 50 }, (_, index) => index)
  const result = shuffled(items, seededRandom('shuffle'))
  assert.notDeepEqual(result, items)
  assert.deepEqual(
    [...result].sort((a, b) => a - b),
    items,
  )
})

test('a rate limit lets the burst through at once and the rate after it', () => {
  const limit = new RateLimit({ rate: 10, burst: 5, keys: 2 })
  for (let spent = 0; spent < 5; spent++) {
    assert.equal(limit.allow('a', 1, 0), true)
  }
  assert.equal(limit.allow('a', 1, 0), false)
  assert.equal(limit.delay('a', 1, 0), 100)
  assert.equal(limit.allow('b', 5, 0), true)
  assert.equal(limit.allow('a', 1, 99), false)
  assert.equal(limit.allow('a', 1, 100), true)
  assert.equal(limit.allow('a', 1, 100), false)
  assert.equal(limit.allow('a', 5, 1000), true)
  assert.equal(limit.delay('a', 6, 10_000), 100)
})

test('a rate limit remembers no more keys than it may', () => {
  const limit = new RateLimit({ rate: 1, burst: 1, keys: 3 })
  for (let key = 0; key < 100; key++) {
    limit.spend(`key ${key}`, 1, key % 7)
    assert.ok(limit.size <= 3)
  }
  limit.delete('key 99')
  assert.ok(limit.size <= 2)
})
