import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODEC_BLOCK, TOPK_CHUNK, twins } from '../../kernels/index.ts'
import { codecs, type TensorCodec } from '../codecs/index.ts'
import { seededRandom } from '../random.ts'
import { createFeedback, type Feedback, type FeedbackOptions, followReplica } from './index.ts'
import { agree, complete, descend, gossipOnRing } from './testing/toys.ts'

/** Values of a vector, of which 4 are kept. */
const D = 200

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

test('top-k of raw models leaves most of their disagreement, replicas take it away, too large a step diverges', () => {
  const raw = Math.min(...[0.1, 0.3].map((gamma) => gossipOnRing('raw', { gamma, rounds: 300 })))
  assert.ok(raw > 0.5, `raw ${raw}`)
  const replicas = gossipOnRing('replicas', { gamma: 0.1, rounds: 1_500 })
  assert.ok(replicas < 1e-3, `replicas ${replicas}`)
  const large = gossipOnRing('replicas', { gamma: 0.3, rounds: 1_500 })
  assert.ok(large > 10, `step 0.3: ${large}`)
})

test('the coarser the code, the smaller the step with which peers that all know each other come together', () => {
  const left = (codec: TensorCodec, gamma: number): number =>
    agree(codec, { peers: 5, graph: complete(5), gamma, rounds: 200, size: 512 })
  assert.ok(left(codecs.int4, 1) < 0.01 && left(codecs.sign, 1) < 0.1)
  assert.ok(left(codecs.topk, 0.03) < 0.5)
  assert.ok(left(codecs.topk, 0.5) > 1)
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
