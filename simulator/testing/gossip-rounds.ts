/**
 * Peers that train the small network of simulator/learners and mix their models in rounds: no network and no clock, so that what is compared
 * are the rules alone. For tests of directions and for scripts/experiments.
 */
import { type Kernels, loadKernels, SharedVectors } from '../../kernels/index.ts'
import { type attacks, mixing, seededRandom } from '../../protocols/index.ts'
import { dirichletShards, gaussianClusters } from '../learners/clusters.ts'
import { drawBatch, type Fit, Mlp } from '../learners/mlp.ts'

/** Whose models a peer receives in a round; itself is never among them. */
export type Topology = (round: number, peer: number) => number[]

/** What a peer does with what it received, in place. One per peer, since some rules remember. */
export type Mixer = (own: Float32Array, messages: mixing.Message[], scratch: mixing.MixingScratch) => mixing.Mixed

export interface RoundsOptions {
  seed: number
  /** Honest peers; the faulty ones come after them. */
  honest: number
  faulty?: number
  widths: readonly number[]
  /** Dirichlet parameter of the shards. */
  alpha: number
  /** Training samples, of all peers together. Default 9,000. */
  samples?: number
  validation?: number
  rounds: number
  localSteps: number
  batch: number
  learningRate: number
  /** m <- momentum m + (1 - momentum) g; theta <- theta - learningRate m, as in MoNNA. Default 0. */
  momentum?: number
  /** Whether the peers begin with one model or each with its own. Default 'same'. */
  start?: 'same' | 'different'
  topology: Topology
  mixer(kernels: Kernels, model: Mlp, peer: number): Mixer
  /** What the faulty peers send; they train and mix like the others. */
  attack?(model: Mlp, peer: number): attacks.Attack
  /** The model is exchanged in this many fragments, one a round. Default 1. */
  fragments?: number
  /** Rounds after which all are evaluated, counted from 1. Default the last. */
  evaluate?: readonly number[]
}

/** The honest peers after some round. */
export interface Standing {
  round: number
  locals: Fit[]
  /** Mean of the local accuracies. */
  accuracy: number
  /** The mean of all honest models. */
  merged: Fit
  consensusError: number
}

export interface RoundsResult {
  standings: Standing[]
  /** How often messages were refused, by reason, honest receivers only. */
  refused: { fromHonest: Partial<Record<mixing.Refusal, number>>; fromFaulty: Partial<Record<mixing.Refusal, number>> }
  /** Tensors corrected by the variance guard. */
  corrections: number
  /** The round in which an honest peer's parameters were not finite any more, if any: there the run ends, without a standing. */
  diverged?: number
}

/** Runs the rounds. Deterministic. */
export function trainInRounds(options: RoundsOptions): RoundsResult {
  const { seed, honest, faulty = 0, rounds, fragments = 1, momentum = 0 } = options
  const peers = honest + faulty
  const model = new Mlp(options.widths)
  const { size } = model
  const data = gaussianClusters({ seed, training: options.samples ?? 9_000, validation: options.validation ?? 3_000 })
  const shards = dirichletShards(data.training, peers, options.alpha, seed)
  const indices = Array.from({ length: peers }, (_, i) => i)
  const vector = { type: 'float32' as const, length: size }
  const vectors = SharedVectors.create(
    Object.fromEntries(
      [...indices.flatMap((i) => ['theta', 'sent', 'velocity', 'before'].map((name) => `${name}-${i}`))]
        .concat('gradient', 'merged', 'pull', 'difference')
        .map((name) => [name, vector]),
    ),
  )
  const kernels = loadKernels(vectors)
  const of = (name: string): Float32Array[] => indices.map((i) => vectors.float32(`${name}-${i}`))
  const [theta, sent, velocity, before] = [of('theta'), of('sent'), of('velocity'), of('before')]
  const gradient = vectors.float32('gradient')
  const scratch = { pull: vectors.float32('pull'), difference: vectors.float32('difference') }
  const randoms = indices.map((i) => seededRandom('rounds', seed, i))
  const mixers = indices.map((i) => options.mixer(kernels, model, i))
  const attackers = indices.map((i) => (i < honest ? undefined : options.attack?.(model, i)))
  const result: RoundsResult = { standings: [], refused: { fromHonest: {}, fromFaulty: {} }, corrections: 0 }
  for (const i of indices) {
    model.initialize(theta[i]!, options.start === 'different' ? seed * 1_000 + i : seed)
  }

  const train = (i: number): void => {
    before[i]!.set(theta[i]!)
    for (let step = 0; step < options.localSteps; step++) {
      model.gradient(theta[i]!, gradient, data.training, drawBatch(shards[i]!, options.batch, randoms[i]!))
      kernels.scale(velocity[i]!, momentum)
      kernels.axpy(velocity[i]!, 1 - momentum, gradient)
      kernels.axpy(theta[i]!, -options.learningRate, velocity[i]!)
    }
    sent[i]!.set(theta[i]!)
  }
  const note = (mixed: mixing.Mixed): void => {
    result.corrections += mixed.corrected.length
    for (const { peer, reason } of mixed.refused) {
      const counts = Number(peer) < honest ? result.refused.fromHonest : result.refused.fromFaulty
      counts[reason] = (counts[reason] ?? 0) + 1
    }
  }

  for (let round = 1; round <= rounds; round++) {
    for (const i of indices) {
      train(i)
    }
    if (!theta.slice(0, honest).every((local) => kernels.allFinite(local))) {
      return { ...result, diverged: round }
    }
    // Liars see what all honest peers send before they send.
    const known = sent.slice(0, honest)
    for (const i of indices.slice(honest)) {
      attackers[i]?.(sent[i]!, { honest: known, before: before[i]!, peers, faulty })
    }
    const { start, end } = mixing.fragmentOf(size, fragments, (round - 1) % fragments)
    for (const i of indices) {
      const messages = options
        .topology(round, i)
        .map((j) => ({ peer: String(j), values: sent[j]!.subarray(start, end) }))
      const mixed = mixers[i]!(theta[i]!.subarray(start, end), messages, scratch)
      if (i < honest) {
        note(mixed)
      }
    }
    if ((options.evaluate ?? [rounds]).includes(round)) {
      result.standings.push(standing(round))
    }
  }
  return result

  function standing(round: number): Standing {
    const merged = vectors.float32('merged')
    const models = theta.slice(0, honest)
    for (const [i, local] of models.entries()) {
      mixing.addToMean(kernels, merged, local, i + 1)
    }
    const locals = models.map((local) => model.evaluate(local, data.validation))
    return {
      round,
      locals,
      accuracy: locals.reduce((sum, { accuracy }) => sum + accuracy, 0) / honest,
      merged: model.evaluate(merged, data.validation),
      consensusError: mixing.consensusError(kernels, merged, models),
    }
  }
}

/** Everybody receives from everybody. */
export function everybody(peers: number): Topology {
  return (_, peer) => Array.from({ length: peers }, (_, i) => i).filter((i) => i !== peer)
}

/** Every peer receives from `count` others, drawn anew each round. */
export function randomPulls(peers: number, count: number, seed: number): Topology {
  const names = Array.from({ length: peers }, (_, i) => String(i))
  return (round, peer) =>
    mixing
      .drawPeers(
        names.filter((name) => name !== String(peer)),
        count,
        seededRandom('pulls', seed, round, peer),
      )
      .map(Number)
}

/** Random pairs: each round a random matching, of which each pair meets with a probability. */
export function randomPairs(peers: number, probability: number, seed: number): Topology {
  return (round, peer) => {
    const random = seededRandom('pairs', seed, round)
    const order = mixing.drawPeers(
      Array.from({ length: peers }, (_, i) => String(i)),
      peers,
      random,
    )
    for (let k = 0; k + 1 < peers; k += 2) {
      const pair = [Number(order[k]), Number(order[k + 1])]
      const meets = random.uniform() < probability
      if (pair.includes(peer)) {
        return meets ? pair.filter((i) => i !== peer) : []
      }
    }
    return []
  }
}

/** Symmetries of the network: the hidden units of each layer, which may be exchanged, and scaled since a * relu(x) = relu(a * x). */
export function mlpSymmetries({ widths, tensors }: Mlp): attacks.Symmetry[] {
  return widths.slice(1, -1).map((units, layer) => {
    const [weight, bias, next] = [tensors[2 * layer]!, tensors[2 * layer + 1]!, tensors[2 * layer + 2]!]
    return {
      units,
      tensors: [
        { offset: weight.offset, outer: weight.shape[0]!, inner: 1, power: 1 },
        { offset: bias.offset, outer: 1, inner: 1, power: 1 },
        { offset: next.offset, outer: 1, inner: next.shape[1]!, power: -1 },
      ],
    }
  })
}
