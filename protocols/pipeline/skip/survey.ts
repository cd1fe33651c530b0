/** The problem as it is: who holds what, how fast everybody is, and how far from each other. */
import type { PeerName, StageCut, Swarm, Transport } from '../../ports.ts'
import type { Holders } from '../types.ts'
import { fewAtATime } from './few.ts'
import type { Links } from './links.ts'
import { MAX_MACHINES, travelled } from './messages.ts'
import { BACKWARD, evenRounds, type SkipProblem } from './problem.ts'

export interface SurveyOptions {
  /** Stages of a path. */
  keep: number
  /** Microbatches that a data peer has under way at most. */
  quota: number
  /** Encoded bytes of a microbatch's activations. */
  bytes: number
  /** Seconds of a data peer's own part of a microbatch, where they were measured. Default: none, they do not hold up the stages. */
  ends?: () => { embed: number; loss: number }
}

/** What is looked at. */
export interface Surveyed {
  swarm: Transport & Pick<Swarm, 'run'>
  holders: Pick<Holders, 'speed'>
  cut: Pick<StageCut, 'rows' | 'microbatches'>
  options: SurveyOptions
}

/** A problem, and who its machines are. */
export interface Survey {
  peers: readonly PeerName[]
  problem: SkipProblem
}

/**
 * The problem of this data peer with those holders of each stage. Undefined where there are more than {@link MAX_MACHINES} of them, or while the link between two
 * is known to neither.
 */
export async function survey(
  { swarm, holders: view, cut, options }: Surveyed,
  links: Links,
  holders: readonly (readonly PeerName[])[],
  signal: AbortSignal,
): Promise<Survey | undefined> {
  const peers = [...new Set([swarm.self, ...holders.flat()])]
  if (peers.length > MAX_MACHINES) {
    return undefined
  }
  const rows = await fewAtATime(peers, (peer) => links.timesOf(peer, peers, options.bytes, signal))
  // Where only one direction was measured, it stands for both.
  const time = (from: number, to: number): number | undefined => rows[from]?.[to] ?? rows[to]?.[from]
  const transfer: number[][] = []
  for (const from of peers.keys()) {
    const row: number[] = []
    for (const to of peers.keys()) {
      const seconds = from === to ? 0 : time(from, to)
      if (seconds === undefined) {
        return undefined
      }
      row.push(travelled(seconds))
    }
    transfer.push(row)
  }
  const speeds = peers.map((peer) => view.speed(peer))
  const known = speeds.filter((speed) => speed !== undefined)
  // Who has not said yet how fast it is counts as the mean of those who have.
  const typical = known.reduce((sum, speed) => sum + speed, 0) / Math.max(1, known.length)
  const ends = options.ends?.() ?? { embed: 0, loss: 0 }
  const machines = peers.map((peer, i) => ({
    forward: travelled(((speeds[i] ?? typical) * cut.rows) / 1000 / (1 + BACKWARD)),
    embed: peer === swarm.self ? travelled(ends.embed) : 0,
    loss: peer === swarm.self ? travelled(ends.loss) : 0,
    slots: options.quota,
  }))
  const problem = {
    machines,
    transfer,
    pause: 0,
    origins: [0],
    holders: holders.map((of) => of.map((peer) => peers.indexOf(peer))),
    fixed: 1,
    keep: options.keep,
    paths: Math.min(cut.microbatches, options.quota),
    release: { microbatches: cut.microbatches, every: 0 },
  }
  return { peers, problem: { ...problem, rounds: evenRounds(problem), slack: 0 } }
}
