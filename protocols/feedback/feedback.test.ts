import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODEC_BLOCK, loadKernels, SharedVectors, TOPK_CHUNK, twins, type VectorSpec } from '../../kernels/index.ts'
import { codecs, type TensorCodec, topKCodec } from '../codecs/index.ts'
import { seededRandom } from '../random.ts'
import { createFeedback, type Feedback, type FeedbackOptions, followReplica, stepTowardsReplicas } from './index.ts'

const D = 200

/** Of 200 values 4 are kept: 2 %. */
const TOP4 = topKCodec(Math.floor((4 * TOPK_CHUNK) / D))

const floats = (names: readonly string[]): VectorSpec =>
  Object.fromEntries(names.map((name) => [name, { type: 'float32' as const, length: D }]))

/** Vectors of `count` peers, each with these names, and scratch that all share. */
function memoryOf(count: number, names: readonly string[], codec: TensorCodec) {
  const own = Array.from({ length: count }, (_, peer) => names.map((name) => `${name}-${peer}`)).flat()
  const vectors = SharedVectors.create({
    ...floats([...own, 'sum', 'decoded', 'scratch-0', 'scratch-1']),
    message: { type: 'uint8', length: codec.bytes(D) },
  })
  return {
    kernels: loadKernels(vectors),
    of: (name: string, peer: number) => vectors.float32(`${name}-${peer}`),
    sum: vectors.float32('sum'),
    decoded: vectors.float32('decoded'),
    scratch: [vectors.float32('scratch-0'), vectors.float32('scratch-1')] as const,
    message: vectors.bytes('message'),
  }
}

const PEERS = 10

/** Quadratics with curvatures and minima of their own: f_i(x) = sum of a_ij (x_j - b_ij)² / 2. Their gradients at the common minimum are far from 0. */
const problem = (() => {
  const random = seededRandom('quadratics')
  const list = (of: () => number): Float64Array => Float64Array.from({ length: PEERS * D }, of)
  const a = list(() => 0.5 + random.uniform())
  return { a, b: list(() => 20 * (random.uniform() - 0.5)) }
})()

/**
 * Gradient descent on their mean through a memory and a code. Returns the norm of the true gradient, averaged (root mean square) over the last
 * tenth of the steps.
 */
function descend(
  options: FeedbackOptions | 'dense',
  { rate, noise, steps }: { rate: number; noise: number; steps: number },
) {
  const codec = options === 'dense' ? codecs.float32 : TOP4
  const feedback = createFeedback(options === 'dense' ? { memory: 'none' } : options)
  const memory = memoryOf(PEERS, ['gradient', 'error', 'estimate'], codec)
  const { kernels, sum, decoded, message, scratch } = memory
  // A minimum of 0 to seven digits would need doubles: x is kept in them, what travels is not.
  const x = new Float64Array(D)
  const { a, b } = problem
  let state = 1
  let squares = 0
  const measured = Math.ceil(steps / 10)
  const gradients = Array.from({ length: PEERS }, (_, peer) => memory.of('gradient', peer))
  const states = gradients.map((_, peer) => ({
    error: memory.of('error', peer),
    estimate: memory.of('estimate', peer),
  }))
  const total = new Float64Array(D)
  for (let step = 0; step < steps; step++) {
    if (feedback.receivers === 'use') sum.fill(0)
    total.fill(0)
    for (let peer = 0; peer < PEERS; peer++) {
      const gradient = gradients[peer]!
      for (let j = 0; j < D; j++) {
        const exact = a[peer * D + j]! * (x[j]! - b[peer * D + j]!)
        total[j] = total[j]! + exact / PEERS
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
        gradient[j] = exact + noise * Math.sqrt(12) * (state / 2 ** 32 - 0.5)
      }
      feedback.send(kernels, codec, {
        values: gradient,
        state: states[peer]!,
        scratch,
        message,
        size: D,
        start: 0,
        seed: step,
      })
      codec.decode(kernels, message, D, 0, decoded)
      kernels.axpy(sum, 1 / PEERS, decoded)
    }
    if (step >= steps - measured) squares += total.reduce((all, value) => all + value * value, 0)
    for (let j = 0; j < D; j++) x[j] = x[j]! - rate * sum[j]!
    if (!Number.isFinite(squares) || !kernels.allFinite(sum)) return Number.POSITIVE_INFINITY
  }
  return Math.sqrt(squares / measured)
}

const CLASSIC: FeedbackOptions = { memory: 'decay', beta: 1 }
const ECONTROL: FeedbackOptions = { memory: 'econtrol', eta: 4 / D }

test('members that differ, no noise: EF21 and EControl find the minimum, no feedback and classic feedback do not', () => {
  const end = (options: FeedbackOptions | 'dense', rate: number): number =>
    descend(options, { rate, noise: 0, steps: 2_500 })
  // Single precision ends at 1e-6 of gradients of 80; naive top-k does not even come near.
  const dense = end('dense', 0.02)
  assert.ok(dense < 5e-6, `dense ${dense}`)
  for (const options of [{ memory: 'ef21' }, ECONTROL] as const) {
    const norm = end(options, 0.02)
    assert.ok(norm < 1e-3, `${options.memory} ${norm}`)
  }
  const naive = Math.min(end({ memory: 'none' }, 0.005), end({ memory: 'none' }, 0.08))
  assert.ok(naive > 5, `naive ${naive}`)
  const classic = end(CLASSIC, 0.005)
  assert.ok(classic > 0.1 && classic < naive / 5, `classic ${classic}`)
})

test('under noise EControl beats classic feedback, which beats EF21, each at the best of several step sizes', () => {
  const best = (options: FeedbackOptions): number =>
    Math.min(...[0.005, 0.02].map((rate) => descend(options, { rate, noise: 1, steps: 3_000 })))
  const [econtrol, classic, ef21] = [best(ECONTROL), best(CLASSIC), best({ memory: 'ef21' })]
  assert.ok(econtrol < 0.85 * classic, `EControl ${econtrol}, classic ${classic}`)
  assert.ok(classic < 0.85 * ef21, `classic ${classic}, EF21 ${ef21}`)
})

/** Twelve peers on a ring gossip through top 5 %. Returns what is left of their disagreement, root mean square, as a share of that at the start. */
function gossip(how: 'raw' | 'replicas', gamma: number, rounds: number): number {
  const RING = 12
  const codec = topKCodec(Math.floor(0.05 * TOPK_CHUNK))
  const memory = memoryOf(RING, ['x', 'replica'], codec)
  const { kernels, message, scratch, decoded } = memory
  const random = seededRandom('ring')
  // As models are that trained apart from one start: they differ by less than their own size.
  const common = Float32Array.from({ length: D }, () => 2 * random.uniform() - 1)
  const models = Array.from({ length: RING }, (_, peer) => memory.of('x', peer))
  for (const model of models) model.set(common.map((value) => value + 0.2 * (random.uniform() - 0.5)))
  // One copy of each public replica stands for all copies: every neighbour follows the same messages.
  const replicas = models.map((_, peer) => memory.of('replica', peer))
  const own = createFeedback({ memory: 'ef21' })
  const disagreement = (): number => {
    const mean = models.reduce((all, model) => all.map((value, j) => value + model[j]! / RING), new Float64Array(D))
    return Math.sqrt(
      models.reduce((all, model) => model.reduce((sum, value, j) => sum + (value - mean[j]!) ** 2, all), 0),
    )
  }
  const start = disagreement()
  const state = { estimate: decoded }
  for (let round = 0; round < rounds; round++) {
    for (let peer = 0; peer < RING; peer++) {
      const replica = replicas[peer]!
      // Of the raw model, or of its difference to the replica.
      if (how === 'raw') replica.fill(0)
      decoded.set(replica)
      own.send(kernels, codec, { values: models[peer]!, state, scratch, message, size: D, start: 0, seed: 0 })
      followReplica(kernels, codec, { bytes: message, size: D, start: 0 }, replica, scratch[0])
      assert.deepEqual(replica, decoded)
    }
    for (let peer = 0; peer < RING; peer++) {
      const neighbours = [peer + 1, peer + RING - 1].map((j) => ({ replica: replicas[j % RING]!, weight: 1 / 3 }))
      stepTowardsReplicas(kernels, models[peer]!, replicas[peer]!, neighbours, gamma)
    }
  }
  return disagreement() / start
}

test('top-k of raw models leaves most of their disagreement, replicas take it away, too large a step diverges', () => {
  const raw = Math.min(gossip('raw', 0.1, 300), gossip('raw', 0.3, 300))
  assert.ok(raw > 0.5, `raw ${raw}`)
  const replicas = gossip('replicas', 0.1, 1_500)
  assert.ok(replicas < 1e-3, `replicas ${replicas}`)
  const large = gossip('replicas', 0.3, 1_500)
  assert.ok(large > 10, `step 0.3: ${large}`)
})

/** Sends `vectors` one after the other through a memory in slices, from the given state. Returns the messages and the state after. */
function sendAll(
  feedback: Feedback,
  codec: TensorCodec,
  vectors: readonly Float32Array[],
  { state = {} as Partial<Record<'error' | 'estimate', Float32Array>>, slice = 1_000_000, first = 0 } = {},
) {
  const size = vectors[0]!.length
  const after = Object.fromEntries(
    feedback.state.map((name) => [name, Float32Array.from(state[name] ?? new Float32Array(size))]),
  )
  const messages = vectors.map((values, number) => {
    const message = new Uint8Array(codec.bytes(size))
    for (let start = 0; start < size; start += slice) {
      const cut = (vector: Float32Array): Float32Array => vector.subarray(start, start + slice)
      const part = cut(values)
      feedback.send(twins, codec, {
        values: part,
        state: Object.fromEntries(Object.entries(after).map(([name, vector]) => [name, cut(vector)])),
        scratch: [new Float32Array(part.length), new Float32Array(part.length)],
        message,
        size,
        start,
        seed: first + number,
      })
    }
    return message
  })
  return { messages, state: after }
}

const MEMORIES: FeedbackOptions[] = [{ memory: 'none' }, { memory: 'decay', beta: 0.95 }, { memory: 'ef21' }, ECONTROL]

function drifts(count: number, size: number): Float32Array[] {
  const random = seededRandom('drifts')
  return Array.from({ length: count }, () => Float32Array.from({ length: size }, () => random.uniform() - 0.5))
}

test('what a memory holds back survives a restart: the state is its vectors and nothing else', () => {
  const vectors = drifts(6, 3 * CODEC_BLOCK)
  for (const options of MEMORIES) {
    for (const codec of [codecs.topk, codecs.int4]) {
      const whole = sendAll(createFeedback(options), codec, vectors)
      const before = sendAll(createFeedback(options), codec, vectors.slice(0, 3))
      const again = sendAll(createFeedback(options), codec, vectors.slice(3), { state: before.state, first: 3 })
      assert.deepEqual([...before.messages, ...again.messages], whole.messages)
      assert.deepEqual(again.state, whole.state)
    }
  }
})

test('slices do not matter', () => {
  const vectors = drifts(3, 2 * TOPK_CHUNK + 77)
  for (const options of MEMORIES) {
    const feedback = createFeedback(options)
    const whole = sendAll(feedback, codecs.topk, vectors)
    assert.deepEqual(sendAll(feedback, codecs.topk, vectors, { slice: TOPK_CHUNK }), whole)
  }
})

test('decay: what is sent and what is kept add up to what came in', () => {
  const vectors = drifts(5, 1_000)
  const { messages, state } = sendAll(createFeedback(CLASSIC), codecs.topk, vectors)
  const sum = new Float32Array(1_000)
  const decoded = new Float32Array(1_000)
  for (const [number, message] of messages.entries()) {
    codecs.topk.decode(twins, message, 1_000, 0, decoded)
    twins.axpy(sum, 1, decoded)
    twins.axpy(sum, -1, vectors[number]!)
  }
  twins.axpy(sum, 1, state.error!)
  assert.ok(sum.every((value) => Math.abs(value) < 1e-5))
})

test('EControl with gain 0 is EF21, and the estimate of both is the sum of what was sent', () => {
  const vectors = drifts(5, 1_000)
  const ef21 = sendAll(createFeedback({ memory: 'ef21' }), codecs.topk, vectors)
  const econtrol = sendAll(createFeedback({ memory: 'econtrol', eta: 0 }), codecs.topk, vectors)
  assert.deepEqual(econtrol.messages, ef21.messages)
  assert.deepEqual(econtrol.state.estimate, ef21.state.estimate)
  const sum = new Float32Array(1_000)
  for (const bytes of ef21.messages) {
    followReplica(twins, codecs.topk, { bytes, size: 1_000, start: 0 }, sum, new Float32Array(1_000))
  }
  assert.deepEqual(sum, ef21.state.estimate)
})

test('constants out of range and missing vectors are refused', () => {
  for (const options of [
    { memory: 'decay', beta: 0 },
    { memory: 'decay', beta: 1.01 },
    { memory: 'econtrol', eta: -0.1 },
    { memory: 'econtrol', eta: Number.NaN },
  ] as const) {
    assert.throws(() => createFeedback(options), RangeError)
  }
  const slice = {
    values: new Float32Array(4),
    state: {},
    scratch: [new Float32Array(4), new Float32Array(4)] as const,
    message: new Uint8Array(codecs.int8.bytes(4)),
    size: 4,
    start: 0,
    seed: 0,
  }
  for (const options of MEMORIES.slice(1)) {
    assert.throws(() => createFeedback(options).send(twins, codecs.int8, slice), /keeps a vector '(error|estimate)'/)
  }
})
