/** NoLoCo's random routing (arXiv 2506.10911, section 3.2): at every boundary between two stages the replicas are permuted anew. */
import type { PeerName } from '../../ports.ts'
import { seededRandom, shuffled } from '../../random.ts'
import { naturalOrder } from './sequential.ts'
import type { PathGenerator } from './types.ts'

/** Which of the microbatches of all data peers. */
export interface Lane {
  run: string
  step: number
  /** Among the data peers of the run, and how many there are. */
  dataPeer: number
  dataPeers: number
  microbatch: number
}

/**
 * The replica of a stage that a microbatch goes to. The microbatches of a step, those of all data peers taken together, come in rounds of as many as there are replicas; each round
 * is spread over the replicas by a permutation drawn from (run, step, round, stage). So each replica of a stage gets exactly one of a round, and from one stage to the next,
 * one permutation after the inverse of another, there is a uniformly random bijection: the reference has one round per sample and as many data peers as replicas, which is a case of this.
 * Everybody who sees the same replicas derives the same.
 */
export function replicaFor(
  { run, step, dataPeer, dataPeers, microbatch }: Lane,
  stage: number,
  replicas: readonly PeerName[],
): PeerName {
  const number = microbatch * dataPeers + dataPeer
  const round = Math.floor(number / replicas.length)
  const order = shuffled([...replicas].sort(), seededRandom('pipeline-routing', run, step, round, stage))
  return order[number % replicas.length]!
}

/** All stages in their order, at random replicas. */
export const randomPaths = (stages: number, run: string, self: PeerName): PathGenerator => ({
  path({ step, microbatch }, reachable) {
    const order = naturalOrder(stages)
    const missing = order.filter((stage) => reachable.ready(stage).length === 0)
    if (missing.length > 0) {
      return { missing }
    }
    const all = reachable.dataPeers()
    const lane = { run, step, dataPeer: Math.max(0, all.indexOf(self)), dataPeers: Math.max(1, all.length), microbatch }
    return { path: order.map((stage) => ({ stage, peer: replicaFor(lane, stage, reachable.ready(stage)) })) }
  },
})
