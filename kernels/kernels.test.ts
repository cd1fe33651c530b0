import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { KernelError, type Kernels, loadKernels, SharedVectors, twins } from './index.ts'

/** Any single-precision number a kernel may meet, with many of ordinary size. */
const float = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true, min: -8, max: 8 }),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
)
const rate = fc.float({ noNaN: true, min: 0, max: 1 })

/** Columns of equal length, rarely a multiple of the SIMD width. */
function columns(count: number, values: fc.Arbitrary<number> = float) {
  return fc
    .integer({ min: 0, max: 773 })
    .chain((length) =>
      fc.tuple(...Array.from({ length: count }, () => fc.array(values, { minLength: length, maxLength: length }))),
    )
}

type Float32s = Record<string, Float32Array>

/** Runs `body` on both implementations over equal inputs and compares every vector's bits afterwards, and the results. */
function sameBits(inputs: Record<string, number[]>, body: (kernels: Kernels, v: Float32s) => unknown) {
  const spec = Object.fromEntries(
    Object.entries(inputs).map(([name, values]) => [name, { type: 'float32' as const, length: values.length }]),
  )
  const outcome = (kind: 'simd' | 'twin') => {
    const vectors = SharedVectors.create(spec)
    const views: Float32s = {}
    for (const [name, values] of Object.entries(inputs)) {
      views[name] = vectors.float32(name)
      views[name].set(values)
    }
    let result: unknown
    try {
      result = body(kind === 'simd' ? loadKernels(vectors) : twins, views)
    } catch (error) {
      assert.ok(error instanceof KernelError)
      return { thrown: error.code }
    }
    return { result, bytes: vectors.names.map((name) => Buffer.from(vectors.bytes(name)).toString('hex')) }
  }
  assert.deepEqual(outcome('simd'), outcome('twin'))
}

describe('the SIMD kernels compute the bits of their plain twins', () => {
  it('adamw', () => {
    fc.assert(
      fc.property(
        columns(4, fc.float({ noNaN: true, min: -8, max: 8 })),
        rate,
        fc.integer({ min: 1, max: 100_000 }),
        rate,
        (data, lr, step, gs) => {
          const [theta, gradient, m, v] = data as [number[], number[], number[], number[]]
          sameBits({ theta, gradient, m, v: v.map(Math.abs) }, (kernels, x) =>
            kernels.adamw(x.theta!, x.gradient!, x.m!, x.v!, {
              learningRate: lr,
              beta1: 0.9,
              beta2: 0.999,
              epsilon: 1e-8,
              weightDecay: 0.1,
              step,
              gradientScale: gs,
            }),
          )
        },
      ),
      { seed: 1 },
    )
  })

  it('sgd, axpy, scale', () => {
    fc.assert(
      fc.property(columns(3), rate, rate, (data, a, b) => {
        const [theta, gradient, velocity] = data as [number[], number[], number[]]
        sameBits({ theta, gradient, velocity }, (kernels, x) => {
          kernels.sgd(x.theta!, x.gradient!, x.velocity!, {
            learningRate: a,
            momentum: b,
            weightDecay: 0.01,
            gradientScale: 0.5,
          })
          kernels.axpy(x.gradient!, a, x.velocity!)
          kernels.scale(x.velocity!, b)
        })
      }),
      { seed: 2 },
    )
  })

  it('sums, distances and the finite check', () => {
    const any = fc.oneof(
      { weight: 200, arbitrary: float },
      { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity) },
    )
    fc.assert(
      fc.property(columns(2, any), (data) => {
        const [a, b] = data as [number[], number[]]
        sameBits({ a, b }, (kernels, x) => [
          kernels.sumSquares(x.a!),
          kernels.squaredDistance(x.a!, x.b!),
          kernels.allFinite(x.a!),
        ])
      }),
      { seed: 3 },
    )
  })

  it('the outer step and the scattered sum', () => {
    fc.assert(
      fc.property(columns(5), rate, rate, (data, alpha, beta) => {
        const [phi, delta, theta, own, partner] = data as [number[], number[], number[], number[], number[]]
        sameBits({ phi, delta, theta, own, partner }, (kernels, x) =>
          kernels.heavyBall(x.phi!, x.delta!, x.theta!, x.own!, x.partner!, { alpha, beta }),
        )
      }),
      { seed: 5 },
    )
    const vectors = SharedVectors.create({
      table: { type: 'float32', length: 6 },
      ids: { type: 'int32', length: 3 },
      rows: { type: 'float32', length: 6 },
    })
    vectors.int32('ids').set([2, 0, 2])
    vectors.float32('rows').set([1, 2, 3, 4, 10, 20])
    loadKernels(vectors).scatterAddRows(vectors.float32('table'), vectors.int32('ids'), vectors.float32('rows'), 2)
    assert.deepEqual([...vectors.float32('table')], [3, 4, 0, 0, 11, 22])
  })
})

describe('shared vectors', () => {
  it('start on 64-byte boundaries, do not overlap and keep clear of the first page', () => {
    const vectors = SharedVectors.create({
      a: { type: 'int8', length: 3 },
      b: { type: 'float32', length: 5 },
      c: { type: 'uint8', length: 200 },
    })
    let end = 65_536
    for (const name of vectors.names) {
      const { byteOffset, byteLength } = vectors.bytes(name)
      assert.equal(byteOffset % 64, 0)
      assert.ok(byteOffset >= end)
      end = byteOffset + byteLength
    }
  })

  it('are the same memory in another thread', async () => {
    const vectors = SharedVectors.create({ x: { type: 'float32', length: 4 } })
    const source = `
      import { workerData } from 'node:worker_threads'
      const { SharedVectors, loadKernels } = await import(${JSON.stringify(new URL('./index.js', import.meta.url).href)})
      const vectors = SharedVectors.attach(workerData)
      vectors.float32('x').fill(3)
      loadKernels(vectors).scale(vectors.float32('x'), 2)`
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
      workerData: vectors.handle,
    })
    await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
    assert.deepEqual([...vectors.float32('x')], [6, 6, 6, 6])
  })

  it('refuse a wrong name, a wrong type, a foreign vector and lengths that differ', () => {
    const vectors = SharedVectors.create({ x: { type: 'float32', length: 4 }, y: { type: 'float32', length: 5 } })
    const kernels = loadKernels(vectors)
    const code = (expected: string) => (error: unknown) => error instanceof KernelError && error.code === expected
    assert.throws(() => vectors.float32('z'), code('vector-unknown'))
    assert.throws(() => vectors.float32('toString'), code('vector-unknown'))
    assert.throws(() => vectors.int8('x'), code('vector-type'))
    assert.throws(() => kernels.scale(new Float32Array(4), 2), code('vector-foreign'))
    assert.throws(() => kernels.axpy(vectors.float32('x'), 1, vectors.float32('y')), code('length-mismatch'))
    assert.throws(
      () => twins.scatterAddRows(new Float32Array(4), Int32Array.of(2), new Float32Array(2), 2),
      code('index-range'),
    )
  })
})
