import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../random.ts'
import { drawDigits } from './digits.ts'
import { type ImageOptions, splitImages, trainingImages } from './images.ts'
import { permutation } from './permutation.ts'
import { cut, dirichlet, dirichletParts, partOf } from './shards.ts'
import { OPEN_PARTS, type ShardSpec } from './spec.ts'
import { splitText, type TextOptions, textDataset, trainingRanges } from './text.ts'

const images = drawDigits(3, 1500)
const validation = { fraction: 0.1, rows: 1000 }

function imageOptions(shard: ShardSpec, index: number, count: number, seed = 1): ImageOptions {
  return { name: 'digits', images, seed, shard, part: partOf(shard, { index, count }, seed), validation }
}

/** A text in which byte i says where it is: three bytes per position. */
function positions(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i / 3) >>> (8 * (i % 3))
  return bytes
}

function textOptions(shard: ShardSpec, index: number, count: number, length = 40_000, context = 31): TextOptions {
  const part = partOf(shard, { index, count }, 1)
  return {
    name: 'text',
    bytes: positions(length),
    context,
    seed: 1,
    shard,
    part,
    validation: { fraction: 0.05, rows: 64 },
  }
}

test('a permutation reaches every place once, and another key gives another order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer(), (size, key) => {
      const place = permutation(size, key)
      assert.equal(new Set(Array.from({ length: size }, (_, i) => place(i))).size, size)
    }),
    { numRuns: 50 },
  )
  const order = (key: number) => Array.from({ length: 100 }, (_, i) => permutation(100, key)(i)).join()
  assert.notEqual(order(1), order(2))
  assert.throws(() => permutation(5, 1)(5), RangeError)
  assert.throws(() => permutation(0, 1), RangeError)
})

test('equal parts are disjoint and cover everything', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 200 }), (length, of) => {
      assert.equal(cut(length, 0, of), 0)
      assert.equal(cut(length, of, of), length)
      for (let i = 0; i < of; i++) {
        const size = cut(length, i + 1, of) - cut(length, i, of)
        assert.ok(size === Math.floor(length / of) || size === Math.ceil(length / of))
      }
    }),
  )
})

test('Dirichlet parts are disjoint, cover everything, and none is empty', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 12 })
  const alpha = fc.constantFrom(0.001, 0.05, 0.5, 1, 20, 1000)
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 20 }), alpha, fc.integer(), (groups, of, concentration, seed) => {
      let next = 0
      const dealt = dirichletParts(
        groups.map((size) => Array.from({ length: size }, () => next++)),
        of,
        concentration,
        seed,
      )
      assert.deepEqual(
        dealt.flat().sort((a, b) => a - b),
        Array.from({ length: next }, (_, i) => i),
      )
      if (next >= of) for (const part of dealt) assert.ok(part.length > 0)
    }),
  )
})

test('Dirichlet proportions have the mean and variance they should have', () => {
  for (const alpha of [0.1, 1, 10]) {
    const of = 5
    const draws = Array.from({ length: 4000 }, (_, i) => dirichlet(of, alpha, seededRandom('moments', alpha, i))[0]!)
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length
    const expected = ((1 / of) * (1 - 1 / of)) / (of * alpha + 1)
    assert.ok(Math.abs(mean - 1 / of) < 5 * Math.sqrt(expected / draws.length), `mean ${mean} at alpha ${alpha}`)
    assert.ok(Math.abs(variance / expected - 1) < 0.15, `variance ${variance}, expected ${expected} at alpha ${alpha}`)
  }
})

/** Mean over the parts of the share of a part's most frequent label. */
function skew(alpha: number): number {
  const count = 8
  let sum = 0
  for (let index = 0; index < count; index++) {
    const mine = trainingImages(imageOptions({ rule: 'dirichlet', alpha }, index, count))
    const labels = new Array<number>(10).fill(0)
    for (const image of mine) labels[images.labels[image]!]!++
    sum += Math.max(...labels) / mine.length
  }
  return sum / count
}

test('parts are the more skewed the smaller alpha is', () => {
  const skews = [100, 1, 0.1, 0.01].map(skew)
  assert.ok(skews[0]! < 0.2, `nearly even at alpha 100: ${skews}`)
  assert.ok(skews.at(-1)! > 0.7, `nearly one label at alpha 0.01: ${skews}`)
  for (let i = 1; i < skews.length; i++) assert.ok(skews[i]! > skews[i - 1]!, `${skews}`)
})

for (const shard of [{ rule: 'disjoint' }, { rule: 'dirichlet', alpha: 0.3 }] as const) {
  test(`${shard.rule}: images of all parts and the held-out ones are all images, each once`, () => {
    const count = 5
    const { held, training } = splitImages(imageOptions(shard, 0, count))
    const parts = Array.from({ length: count }, (_, index) => trainingImages(imageOptions(shard, index, count)))
    assert.equal(held.length, 150)
    assert.deepEqual(
      parts.flat().sort((a, b) => a - b),
      training.toSorted((a, b) => a - b),
    )
    assert.equal(new Set([...held, ...parts.flat()]).size, images.count)
  })

  test(`${shard.rule}: a text's parts do not overlap, and together they are all of it but the held-out end`, () => {
    const count = 4
    const options = Array.from({ length: count }, (_, index) => textOptions(shard, index, count))
    const ranges = options.flatMap(trainingRanges).sort((a, b) => a.from - b.from)
    assert.equal(ranges[0]!.from, 0)
    ranges.forEach(({ from, to }, i) => {
      assert.equal(to, ranges[i + 1]?.from ?? splitText(options[0]!))
      assert.ok(to - from >= 32)
    })
  })

  test(`${shard.rule}: batches stay inside the part, and an epoch sees every row of it once`, () => {
    const options = textOptions(shard, 1, 4)
    const ranges = trainingRanges(options)
    const dataset = textDataset(options)
    const rows = ranges.reduce((sum, { from, to }) => sum + Math.floor((to - from - 1) / 31), 0)
    const starts = new Set<number>()
    for (let sample = 0; sample < 3 * rows; sample++) {
      const batch = dataset.batch(sample, 1)
      assert.ok(batch.kind === 'text')
      const start = placeOf(batch.inputs)
      assert.ok(
        ranges.some(({ from, to }) => start >= from && start + 32 <= to),
        `row at ${start} is outside the part`,
      )
      assert.deepEqual(batch.targets.subarray(0, 30), batch.inputs.subarray(1))
      if (sample < rows) starts.add(start)
    }
    assert.equal(starts.size, rows)
  })
}

/** Where a row of {@link positions} comes from. */
function placeOf(row: Int32Array): number {
  for (let phase = 0; phase < 3; phase++) {
    const at = (3 - phase) % 3
    const place = row[at]! | (row[at + 1]! << 8) | (row[at + 2]! << 16)
    const start = 3 * place - at
    const expected = (i: number) => (((start + i) / 3) >>> (8 * ((start + i) % 3))) & 255
    if (start >= 0 && row.every((value, i) => value === expected(i))) return start
  }
  throw new Error('no place of the text')
}

test('validation rows come from the held-out end, whoever asks', () => {
  const rules = [
    { rule: 'shuffled' },
    { rule: 'same' },
    { rule: 'disjoint' },
    { rule: 'dirichlet', alpha: 0.1 },
  ] as const
  const seen = rules.flatMap((shard) =>
    [0, 2].map((index) => {
      const options = textOptions(shard, index, 4)
      const end = splitText(options)
      const batches = [...textDataset(options).validation(24)]
      assert.deepEqual(
        batches.map(({ rows }) => rows),
        [24, 24, 16],
      )
      for (const batch of batches) {
        assert.ok(batch.kind === 'text')
        for (let row = 0; row < batch.rows; row++)
          assert.ok(placeOf(batch.inputs.subarray(row * 31, (row + 1) * 31)) >= end)
      }
      return JSON.stringify(batches)
    }),
  )
  assert.equal(new Set(seen).size, 1)
})

test('batches are a function of seed, shard and number, in whatever order they are asked for', () => {
  const make = (index: number, seed: number, shard: ShardSpec = { rule: 'disjoint' }) =>
    textDataset({ ...textOptions(shard, index, 4), seed })
  const numbers = [0, 500, 3, 1000, 1]
  const one = make(1, 1)
  const forwards = numbers.map((number) => one.batch(number, 4))
  const two = make(1, 1)
  const backwards = numbers.toReversed().map((number) => two.batch(number, 4))
  assert.deepEqual(forwards, backwards.toReversed())
  assert.notDeepEqual(make(1, 2).batch(0, 4), forwards[0])
  assert.deepEqual(make(0, 1, { rule: 'same' }).batch(7, 4), make(3, 1, { rule: 'same' }).batch(7, 4))
  assert.notDeepEqual(make(0, 1).batch(7, 4), make(3, 1).batch(7, 4))
})

test('shuffled: every peer sees all of it, in an order of its own', () => {
  const shard = { rule: 'shuffled' } as const
  const options = [0, 1].map((index) => textOptions(shard, index, 2))
  for (const one of options) assert.deepEqual(trainingRanges(one), [{ from: 0, to: splitText(one) }])
  const [first, second] = options.map((one) => textDataset(one).batch(0, 16))
  assert.notDeepEqual(first, second)
  const [named, other] = ['a', 'b'].map((peer) => partOf(shard, { peer }, 1))
  assert.notEqual(named!.order, other!.order)
  assert.deepEqual(
    [0, 1].flatMap((index) => trainingImages(imageOptions(shard, index, 2))).length,
    2 * splitImages(imageOptions(shard, 0, 2)).training.length,
  )
})

test('more peers than parts share a part but not its order', () => {
  const shard = { rule: 'disjoint', of: 2 } as const
  const [first, third] = [0, 2].map((index) => textOptions(shard, index, 4))
  assert.deepEqual(trainingRanges(first!), trainingRanges(third!))
  assert.notDeepEqual(textDataset(first!).batch(0, 4), textDataset(third!).batch(0, 4))
})

test('a peer without a number takes the part that its name gives', () => {
  const shard = { rule: 'disjoint' } as const
  const parts = Array.from({ length: 400 }, (_, i) => partOf(shard, { peer: `peer-${i}` }, 1))
  assert.ok(parts.every(({ of }) => of === OPEN_PARTS))
  assert.equal(new Set(parts.map(({ index }) => index)).size, OPEN_PARTS)
  assert.deepEqual(partOf(shard, { peer: 'peer-9' }, 1), parts[9])
  assert.equal(partOf(shard, { peer: 'x' }, 1, 3).of, 3)
  assert.equal(partOf({ rule: 'disjoint', of: 9 }, { peer: 'x' }, 1, 3).of, 9)
  assert.throws(() => partOf(shard, { index: 4, count: 4 }, 1), /shard index 4 is not below the number of shards 4/)
})
