/**
 * Toys that show what error feedback is for: gradient descent on quadratics whose minima lie apart, and models that gossip. For tests of directions and for
 * scripts/experiments/feedback.js.
 */
import { loadKernels, SharedVectors, TOPK_CHUNK, type VectorSpec } from '../../../kernels/index.ts'
import { codecs, type TensorCodec, topKCodec } from '../../codecs/index.ts'
import { normal, seededRandom } from '../../random.ts'
import { createFeedback, type FeedbackOptions, followReplica, stepTowardsReplicas } from '../index.ts'

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

/** How {@link descend} goes down. */
export interface DescentOptions {
  rate: number
  /** Standard deviation of what is added to each element of a gradient. */
  noise: number
  steps: number
  /** Told the norm of the true gradient before each step. */
  onStep?: (step: number, norm: number) => void
}

/**
 * Gradient descent on their mean through a memory and a code. Returns the norm of the true gradient, averaged (root mean square) over the last
 * tenth of the steps.
 */
export function descend(options: FeedbackOptions | 'dense', { rate, noise, steps, onStep }: DescentOptions): number {
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
    const square = total.reduce((all, value) => all + value * value, 0)
    onStep?.(step, Math.sqrt(square))
    if (step >= steps - measured) squares += square
    for (let j = 0; j < D; j++) x[j] = x[j]! - rate * sum[j]!
    if (!Number.isFinite(squares) || !kernels.allFinite(sum)) return Number.POSITIVE_INFINITY
  }
  return Math.sqrt(squares / measured)
}

/** Twelve peers on a ring gossip through top 5 %. Returns what is left of their disagreement, root mean square, as a share of that at the start. */
export function gossipOnRing(
  how: 'raw' | 'replicas',
  { gamma, rounds, onRound }: { gamma: number; rounds: number; onRound?: (round: number, share: number) => void },
): number {
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
    }
    onRound?.(round, disagreement() / start)
    for (let peer = 0; peer < RING; peer++) {
      const neighbours = [peer + 1, peer + RING - 1].map((j) => ({ replica: replicas[j % RING]!, weight: 1 / 3 }))
      stepTowardsReplicas(kernels, models[peer]!, replicas[peer]!, neighbours, gamma)
    }
  }
  return disagreement() / start
}

/** Whom each of some peers hears. */
export type Graph = (peer: number) => readonly number[]

/** On a ring. */
export const ring =
  (peers: number): Graph =>
  (peer) => [(peer + 1) % peers, (peer + peers - 1) % peers]

/** Everybody. */
export const complete =
  (peers: number): Graph =>
  (peer) =>
    Array.from({ length: peers }, (_, i) => i).filter((i) => i !== peer)

/**
 * Peers whose models begin apart gossip through public replicas in a code of the table, each neighbour with weight 1 / (neighbours + 1). Returns what is left of their disagreement,
 * as {@link gossipOnRing}; Infinity where it grew a hundredfold.
 */
export function agree(
  codec: TensorCodec,
  {
    peers,
    graph,
    gamma,
    rounds,
    size = TOPK_CHUNK,
  }: { peers: number; graph: Graph; gamma: number; rounds: number; size?: number },
): number {
  const vector = { type: 'float32' as const, length: size }
  const names = Array.from({ length: peers }, (_, i) => [`x-${i}`, `replica-${i}`]).flat()
  const vectors = SharedVectors.create({
    ...Object.fromEntries([...names, 'sent', 'difference'].map((name) => [name, vector])),
    message: { type: 'uint8', length: codec.bytes(size) },
  })
  const kernels = loadKernels(vectors)
  const random = seededRandom('agree')
  const of = (name: string): Float32Array[] => Array.from({ length: peers }, (_, i) => vectors.float32(`${name}-${i}`))
  const [models, replicas] = [of('x'), of('replica')]
  const common = Float32Array.from({ length: size }, () => normal(random))
  for (const [i, model] of models.entries()) {
    replicas[i]!.set(common)
    model.set(common.map((value) => value + 0.2 * normal(random)))
  }
  const disagreement = (): number => {
    const mean = models.reduce((all, model) => all.map((value, k) => value + model[k]! / peers), new Float64Array(size))
    return Math.sqrt(
      models.reduce((all, model) => all + model.reduce((sum, value, k) => sum + (value - mean[k]!) ** 2, 0), 0),
    )
  }
  const start = disagreement()
  const scratch = [vectors.float32('sent'), vectors.float32('difference')] as const
  const own = createFeedback({ memory: 'ef21' })
  for (let round = 0; round < rounds; round++) {
    for (const [i, values] of models.entries()) {
      const message = vectors.bytes('message')
      const seed = round * peers + i
      own.send(kernels, codec, { values, state: { estimate: replicas[i]! }, scratch, message, size, start: 0, seed })
    }
    for (const [i, model] of models.entries()) {
      const heard = graph(i)
      const neighbours = heard.map((j) => ({ replica: replicas[j]!, weight: 1 / (heard.length + 1) }))
      stepTowardsReplicas(kernels, model, replicas[i]!, neighbours, gamma)
    }
    if (round % 50 === 49 && !(disagreement() < 100 * start)) {
      return Number.POSITIVE_INFINITY
    }
  }
  return disagreement() / start
}
