/** Small pipelines for tests. */
import type { Random } from '../../../ports.ts'
import { evenRounds, type SkipProblem } from '../problem.ts'

/**
 * Stages 0 to 3 with two machines each, one in region A (even) and one in region B (odd), 0.1 s inside a region and 1 s between them; the machines
 * of stage 0 have the data, two microbatches each; 2 of the other 3 stages, two slots, no pause. The least time of an iteration is 9.85 s.
 */
export const tiny: SkipProblem = {
  machines: Array.from({ length: 8 }, () => ({ forward: 1, embed: 1, loss: 0.25, slots: 2 })),
  transfer: Array.from({ length: 8 }, (_, from) =>
    Array.from({ length: 8 }, (_, to) => (from === to ? 0 : from % 2 === to % 2 ? 0.1 : 1)),
  ),
  pause: 0,
  origins: [0, 1],
  holders: [
    [2, 3],
    [4, 5],
    [6, 7],
  ],
  fixed: 0,
  keep: 2,
  paths: 2,
  rounds: 1,
  slack: 0,
  release: { microbatches: 2, every: 0 },
}

/** A pipeline as Starling has it: data peers beside the stages, stage 1 on every path, delays and speeds at random. */
export function randomProblem(
  random: Random,
  shape: { stages: number; keep: number; holders?: number; dataPeers?: number; paths?: number },
): SkipProblem {
  const { stages, keep, holders = 2, dataPeers = 1, paths = 4 } = shape
  const count = dataPeers + stages * holders
  const slots = Math.ceil((dataPeers * paths) / holders)
  const problem = {
    machines: Array.from({ length: count }, (_, machine) => {
      const forward = 0.2 + 0.4 * random.uniform()
      return { forward, embed: 0.05, loss: 0.1, slots: machine < dataPeers ? paths : slots }
    }),
    transfer: Array.from({ length: count }, (_, from) =>
      Array.from({ length: count }, (_, to) => (from === to ? 0 : 0.05 + 2 * random.uniform())),
    ),
    pause: 0.02,
    origins: Array.from({ length: dataPeers }, (_, peer) => peer),
    holders: Array.from({ length: stages }, (_, stage) =>
      Array.from({ length: holders }, (_, i) => dataPeers + stage * holders + i),
    ),
    fixed: 1,
    keep,
    paths,
    release: { microbatches: paths, every: 0 },
  }
  return { ...problem, rounds: evenRounds(problem), slack: 0 }
}
