import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { type DirectionKind, KernelError, type Kernels, loadKernels, SharedVectors, twins } from '../index.ts'
import { chacha8Block, keyWords } from './chacha.ts'

const KINDS = ['sign', 'gaussian'] as const
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i)

/** z of elements `first` to `first` + length - 1 under {@link KEY}, numerators for gaussian, from the twins. */
function drawn(kind: DirectionKind, first: number, length: number): Int32Array {
  const sums = new Int32Array(length)
  twins.addDirections(sums, KEY, Int32Array.of(1), 1, kind, first)
  return sums
}

const signs = (z: Int32Array) => [...z].map((value) => (value > 0 ? '+' : '-')).join('')

interface Case {
  kind: DirectionKind
  /** Elements, and the number of the first one. */
  length: number
  first: number
  coefficients: number[]
  /** Any key, vector and sum is a function of it. */
  seed: number
}

/** Everything that the kernels compute in one case, as bytes and numbers. */
function outcome(implementation: Kernels['kind'], { kind, length, first, coefficients, seed }: Case): unknown {
  const count = coefficients.length
  const vectors = SharedVectors.create({
    sums: { type: 'int32', length },
    base: { type: 'float32', length },
    out: { type: 'float32', length },
    keys: { type: 'uint8', length: 32 * Math.max(1, count) },
    coefficients: { type: 'int32', length: count },
  })
  const kernels = implementation === 'simd' ? loadKernels(vectors) : twins
  let state = seed | 1
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return state
  }
  const [sums, base, out, keys] = [
    vectors.int32('sums'),
    vectors.float32('base'),
    vectors.float32('out'),
    vectors.bytes('keys'),
  ]
  for (let i = 0; i < keys.length; i++) keys[i] = random() >>> 24
  for (let i = 0; i < length; i++) {
    sums[i] = random()
    base[i] = random() / 2 ** 30
  }
  vectors.int32('coefficients').set(coefficients)
  const key = keys.subarray(0, 32)
  kernels.addDirections(sums, keys, vectors.int32('coefficients'), count, kind, first)
  kernels.perturb(out, base, key, 1e-3, kind, first)
  const perturbed = Buffer.from(vectors.bytes('out')).toString('hex')
  const [dot, largest] = [kernels.dotDirection(base, key, kind, first), kernels.maxAbs(sums)]
  kernels.fromSums(out, base, sums, 1.25e-9)
  return {
    sums: Buffer.from(vectors.bytes('sums')).toString('hex'),
    perturbed,
    dot,
    largest,
    out: Buffer.from(vectors.bytes('out')).toString('hex'),
  }
}

describe('the generator', () => {
  it('is ChaCha8, by a published vector', () => {
    // Strombergson, "Test Vectors for the Stream Cipher ChaCha" (draft-strombergson-chacha-test-vectors-00), TC1: key and nonce zero, 8 rounds.
    const out = new Uint32Array(32)
    chacha8Block(keyWords(new Uint8Array(32)), 0, out.subarray(0, 16))
    chacha8Block(keyWords(new Uint8Array(32)), 1, out.subarray(16))
    const expected =
      '3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42' +
      'd2aefa0deaa5c151bf0adb6c01f2a5adc0fd581259f9a2aadcf20f8fd566a26b5032ec38bbc5da98ee0c6f568b872a65a08abf251deb21bb4b56e5d8821e68aa'
    assert.equal(Buffer.from(out.buffer).toString('hex'), expected)
  })

  it('gives the same first values for ever', () => {
    assert.equal(signs(drawn('sign', 0, 64)), '---+-++--+-----+-+-+-+--++++----+-+--++-+-++-+--++++--++--+----+')
    const later = drawn('sign', 5 * 2048, 194).subarray(130)
    assert.equal(signs(later), '-+++-++++---++++-+++---++-+-+++--+----++-++--+++++++--++-+++++--')
    const numerators = [
      -3, 1, 5, 1, 0, -1, 2, 4, 3, 5, 0, -5, -3, -1, 0, -8, 4, -2, -4, 0, 0, 4, 0, 2, 2, 3, -2, -5, 8, 0, 0, -4,
    ]
    const others = [
      6, 1, 0, 7, 3, 2, -5, 2, 0, 1, 3, 3, 3, 5, -1, 0, 0, 0, 3, 3, 3, 1, 1, 3, 2, -2, -5, -5, -1, 2, 4, 1,
    ]
    assert.deepEqual([...drawn('gaussian', 0, 64)], [...numerators, ...others])
    assert.deepEqual(
      [...drawn('gaussian', 2048, 80).subarray(64)],
      [-3, 2, -1, -5, -4, 3, -1, 2, -1, 2, 0, 1, -2, 1, 4, -1],
    )
  })

  it('gives the same values in another thread that works on the same memory at the same time', async () => {
    const [length, rounds] = [50_000, 20]
    const vectors = SharedVectors.create({
      here: { type: 'int32', length },
      there: { type: 'int32', length },
      keys: { type: 'uint8', length: 128 },
      coefficients: { type: 'int32', length: 4 },
      ready: { type: 'int32', length: 1 },
    })
    vectors.bytes('keys').set(KEY)
    vectors.int32('coefficients').set([1, 20, 300, 4000])
    const source = `
      import { workerData } from 'node:worker_threads'
      const { SharedVectors, loadKernels } = await import(${JSON.stringify(new URL('../index.js', import.meta.url).href)})
      const vectors = SharedVectors.attach(workerData)
      const kernels = loadKernels(vectors)
      Atomics.store(vectors.int32('ready'), 0, 1)
      Atomics.notify(vectors.int32('ready'), 0)
      for (let i = 0; i < ${rounds}; i++)
        kernels.addDirections(vectors.int32('there'), vectors.bytes('keys'), vectors.int32('coefficients'), 4, 'sign', 0)`
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: vectors.handle,
    })
    const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
    const kernels = loadKernels(vectors)
    assert.notEqual(Atomics.wait(vectors.int32('ready'), 0, 0, 20_000), 'timed-out')
    for (let i = 0; i < rounds; i++) {
      kernels.addDirections(vectors.int32('here'), vectors.bytes('keys'), vectors.int32('coefficients'), 4, 'sign', 0)
    }
    await ended
    assert.deepEqual(vectors.int32('there'), vectors.int32('here'))
    const expected = new Int32Array(length)
    twins.addDirections(expected, vectors.bytes('keys'), vectors.int32('coefficients'), 4, 'sign', 0)
    assert.deepEqual(
      vectors.int32('here'),
      expected.map((sum) => sum * rounds),
    )
  })
})

describe('the SIMD kernels compute the bits of their twins', () => {
  it('for any length, place in the vector and number of directions', () => {
    const length = fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 6200 }),
      fc.constantFrom(0, 127, 128, 2047, 2048, 2049, 4096),
    )
    fc.assert(
      fc.property(
        fc.record({
          kind: fc.constantFrom(...KINDS),
          length,
          first: fc.integer({ min: 0, max: 2 ** 20 - 4 }).map((group) => group * 2048),
          coefficients: fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 9 }),
          seed: fc.integer(),
        }),
        (scenario) => assert.deepEqual(outcome('simd', scenario), outcome('twin', scenario)),
      ),
      { seed: 1, numRuns: 80 },
    )
  })

  it('for every length of a last group', () => {
    for (const kind of KINDS) {
      for (let length = 2048; length < 2048 + 132; length++) {
        const scenario = { kind, length, first: 4096, coefficients: [3, -70_000, 11, 5, 2], seed: length }
        assert.deepEqual(outcome('simd', scenario), outcome('twin', scenario))
      }
    }
  })

  it('and so do parts of a vector, whatever the order of the directions', () => {
    const length = 3 * 2048 + 77
    const keys = Uint8Array.from({ length: 5 * 32 }, (_, i) => (i * 37) & 255)
    const coefficients = Int32Array.of(5, -1, 1000, -77_777, 12)
    const whole = new Int32Array(length)
    twins.addDirections(whole, keys, coefficients, 5, 'sign', 0)
    const vectors = SharedVectors.create({
      sums: { type: 'int32', length },
      keys: { type: 'uint8', length: 32 },
      coefficients: { type: 'int32', length: 1 },
    })
    const kernels = loadKernels(vectors)
    for (const c of [3, 0, 4, 1, 2]) {
      vectors.bytes('keys').set(keys.subarray(32 * c, 32 * c + 32))
      vectors.int32('coefficients')[0] = coefficients[c]!
      for (const [from, to] of [
        [4096, length],
        [0, 4096],
      ] as const) {
        const part = vectors.int32('sums').subarray(from, to)
        kernels.addDirections(part, vectors.bytes('keys'), vectors.int32('coefficients'), 1, 'sign', from)
      }
    }
    assert.deepEqual(vectors.int32('sums'), whole)
  })
})

describe('directions', () => {
  it('have mean 0, variance 1 and no correlation between neighbours, lanes, words, blocks and keys', () => {
    const length = 262_144
    const vectors = SharedVectors.create({
      a: { type: 'int32', length },
      b: { type: 'int32', length },
      keys: { type: 'uint8', length: 32 },
      one: { type: 'int32', length: 1 },
    })
    const kernels = loadKernels(vectors)
    vectors.int32('one')[0] = 1
    const [a, b, keys] = [vectors.int32('a'), vectors.int32('b'), vectors.bytes('keys')]
    for (const kind of KINDS) {
      a.fill(0)
      b.fill(0)
      keys.set(KEY)
      kernels.addDirections(a, keys, vectors.int32('one'), 1, kind, 0)
      keys[31]! ^= 1
      kernels.addDirections(b, keys, vectors.int32('one'), 1, kind, 0)
      const unit = kind === 'sign' ? 1 : 1 / 8
      const mean = (term: (i: number) => number) => {
        let sum = 0
        for (let i = 0; i < length; i++) sum += term(i)
        return sum / length
      }
      // Means of products of independent values of variance 1, so within 5 sigma = 5 / sqrt(length).
      const bound = 5 / Math.sqrt(length)
      assert.ok(Math.abs(mean((i) => a[i]! * Math.sqrt(unit))) < bound)
      for (const lag of [1, 2, 3, 4, 16, 64, 128, 512, 2048, 8192]) {
        const correlation = mean((i) => a[i]! * a[(i + lag) % length]! * unit)
        assert.ok(Math.abs(correlation) < bound, `${kind}, lag ${lag}: ${correlation}`)
      }
      assert.ok(Math.abs(mean((i) => a[i]! * b[i]! * unit)) < bound)
      // The variance of z² is 0 for signs, and 2 - 2/32 for binomials of 32 coins.
      const variance = mean((i) => a[i]! ** 2 * unit)
      assert.ok(Math.abs(variance - 1) <= (kind === 'sign' ? 0 : bound * Math.sqrt(2)), `${kind}: ${variance}`)
    }
  })

  it('are those that a perturbation steps along and a product is taken with', () => {
    for (const kind of KINDS) {
      const length = 3000
      const divisor = kind === 'sign' ? 1 : Math.sqrt(8)
      const z = drawn(kind, 2048, length)
      const out = new Float32Array(length)
      twins.perturb(out, new Float32Array(length).fill(1), KEY, 0.25, kind, 2048)
      let squares = 0
      for (let i = 0; i < length; i++) {
        assert.ok(Math.abs(out[i]! - (1 + (0.25 * z[i]!) / divisor)) < 1e-6)
        squares += (z[i]! / divisor) ** 2
      }
      const dot = twins.dotDirection(Float32Array.from(z), KEY, kind, 2048)
      assert.ok(Math.abs(dot / divisor / squares - 1) < 1e-12)
    }
  })

  it('are refused with a wrong key, place or number of them', () => {
    const code = (expected: string) => (error: unknown) => error instanceof KernelError && error.code === expected
    const vectors = SharedVectors.create({ x: { type: 'float32', length: 8 }, k: { type: 'uint8', length: 32 } })
    for (const kernels of [twins, loadKernels(vectors)]) {
      const [x, key] = [vectors.float32('x'), vectors.bytes('k')]
      const sums = new Int32Array(8)
      assert.throws(() => kernels.perturb(x, x, key.subarray(1), 1, 'sign', 0), code('length-mismatch'))
      assert.throws(() => kernels.perturb(x, x, key, 1, 'sign', 1024), code('index-range'))
      assert.throws(() => kernels.dotDirection(x, key, 'gaussian', 2 ** 31), code('index-range'))
      assert.throws(() => kernels.addDirections(sums, key, Int32Array.of(1, 2), 2, 'sign', 0), code('length-mismatch'))
      assert.throws(() => kernels.addDirections(sums, key, Int32Array.of(1), 0.5, 'sign', 0), code('length-mismatch'))
      assert.throws(() => kernels.fromSums(x, x, new Int32Array(7), 1), code('length-mismatch'))
    }
  })

  it('leave the largest magnitude known, that of the smallest number too', () => {
    const vectors = SharedVectors.create({ sums: { type: 'int32', length: 21 } })
    const kernels = loadKernels(vectors)
    const sums = vectors.int32('sums')
    assert.equal(kernels.maxAbs(sums), 0)
    for (const [at, value, expected] of [
      [3, -7, 7],
      [20, 9, 9],
      [11, 2 ** 31 - 1, 2 ** 31 - 1],
      [16, -(2 ** 31), 2 ** 31],
    ] as const) {
      sums[at] = value
      assert.equal(kernels.maxAbs(sums), expected)
      assert.equal(twins.maxAbs(sums), expected)
    }
  })
})
