/**
 * The solved schedule that the authors of SkipPipe publish with their code (github.com/gensyn-ai/skippipe, MIT licence, © 2025 Nikolay Blagoev): 20 machines in
 * 12 regions, their delays, their partition into 6 stages, the paths that several searches chose, and the time that each predicted for an iteration.
 */
import type { SkipPath, SkipProblem } from '../problem.ts'

/** Seconds between two regions: row i, column j < i. Belgium, Canada, Germany, Iowa, Japan, LA, NL, Oregon, Singapore, Taiwan, London, Australia. */
const DELAYS = [
  [1.9615622573571703],
  [0.4828668089306232, 1.3748492258590754],
  [1.50245537909146, 0.7769058837890626, 1.5778194860055905],
  [3.128683832804362, 2.1537408645217484, 3.2814014091323656, 2.6583222528316046],
  [2.0300732575422566, 1.409006591796875, 2.1353856050114968, 0.8818441865922915, 1.525281969007555],
  [
    0.4818668089306232, 1.6407885265815547, 0.48236680893062317, 1.5413191445399497, 3.2052987977383984,
    2.614233601278105,
  ],
  [
    1.913085660521747, 1.0437167045316549, 2.5129398359183206, 0.7152481729043496, 1.4222587092153056,
    0.6260474232226765, 1.9499439996959207,
  ],
  [
    2.372406423857718, 3.074605201141865, 2.9300160932540895, 2.924945873905495, 1.1868571140820618, 2.2845844054291216,
    2.341960059322528, 2.2903301669034093,
  ],
  [
    2.9648200779335174, 2.5634950037279567, 2.9374528927108616, 2.879421966068447, 0.7765216355596161,
    2.3439031130736434, 3.0677617137675384, 1.7498227641320352, 0.8781342168623645,
  ],
  [
    0.48236680893062317, 1.247565932715499, 0.5221639796857014, 1.8282768041855795, 3.9735061531486098,
    2.5129398359183206, 132.3144123449581, 1.8852738387886137, 2.427230723340224, 3.9472608712427624,
  ],
  [
    3.659144695021351, 2.8183856291594327, 3.4626837567003355, 3.2166266081436823, 2.6735013092851214,
    2.5523470662434895, 3.760072409605369, 2.5513470662434896, 1.447187081759093, 1.9053816741233647,
    3.8066967266132306,
  ],
]

/** Seconds between two machines of one region. */
const WITHIN = 0.3666251005828381

/** Machines 12 to 19 are second ones in the regions 0 to 7. */
const REGIONS = 12

/** Machines of the stages 0 to 5; the first ones have the data. */
export const PARTITION = [
  [0, 3, 4, 10, 11],
  [15, 8, 14],
  [1, 9, 6],
  [16, 12, 13],
  [5, 18, 7],
  [17, 2, 19],
]

/** Seconds of a stage's forward pass, and of the pause after each task. */
const FORWARD = 0.44
const PAUSE = 0.13

/** The problem as the authors' searches had it: 5 data peers, each with 3 microbatches under way, 3 of 5 stages beside the data peers' own; two waves. */
export const fixture: SkipProblem = {
  machines: Array.from({ length: 20 }, () => ({ forward: FORWARD, embed: FORWARD, loss: FORWARD / 4, slots: 3 })),
  transfer: Array.from({ length: 20 }, (_, from) => Array.from({ length: 20 }, (_, to) => delay(from, to))),
  pause: PAUSE,
  origins: PARTITION[0]!,
  holders: PARTITION.slice(1),
  fixed: 0,
  keep: 3,
  paths: 3,
  rounds: 1,
  slack: 0,
  release: { microbatches: 6, every: 2.5 },
}

function delay(from: number, to: number): number {
  const [low, high] = [from % REGIONS, to % REGIONS].sort((a, b) => a - b) as [number, number]
  return from === to ? 0 : low === high ? WITHIN : DELAYS[high - 1]![low]!
}

/** A machine list, the data peer first, as a path. */
export function pathOf([origin, ...machines]: readonly number[], start = 0): SkipPath {
  const stage = (machine: number): number => PARTITION.findIndex((holders) => holders.includes(machine))
  return { origin: origin!, start, hops: machines.map((machine) => ({ machine, stage: stage(machine) })) }
}

/** Paths of which three in a row belong to one data peer and start one after the other. */
export const pathsOf = (lists: readonly (readonly number[])[], stagger = FORWARD): SkipPath[] =>
  lists.map((list, i) => pathOf(list, (i % 3) * stagger))

/** The published schedules. The one that avoids collisions has one path for all three slots of a data peer, the others one for each. */
export const schedules = {
  avoiding: {
    seconds: 33.31379002209655,
    paths: [
      [0, 14, 6, 12],
      [3, 15, 17, 5],
      [4, 7, 13, 19],
      [10, 1, 18, 2],
      [11, 8, 16, 9],
    ],
  },
  colliding: {
    seconds: 35.43481420147051,
    paths: [
      [0, 12, 5, 19],
      [0, 1, 19, 18],
      [0, 6, 18, 17],
      [3, 12, 6, 2],
      [3, 14, 12, 2],
      [3, 6, 14, 13],
      [4, 15, 13, 7],
      [4, 15, 5, 17],
      [4, 15, 13, 7],
      [10, 1, 17, 5],
      [10, 1, 7, 2],
      [10, 14, 18, 19],
      [11, 8, 16, 9],
      [11, 8, 16, 9],
      [11, 8, 16, 9],
    ],
  },
  blind: {
    seconds: 48.915682705668054,
    paths: [
      [0, 12, 7, 17],
      [0, 14, 16, 9],
      [0, 1, 8, 19],
      [3, 12, 7, 17],
      [3, 15, 6, 5],
      [3, 1, 8, 19],
      [4, 13, 18, 2],
      [4, 15, 6, 5],
      [4, 1, 8, 19],
      [10, 13, 18, 2],
      [10, 15, 6, 5],
      [10, 14, 16, 9],
      [11, 13, 18, 2],
      [11, 12, 7, 17],
      [11, 14, 16, 9],
    ],
  },
  /** All six stages: three data peers only, one path each. */
  full: {
    seconds: 79.93971963540922,
    paths: [
      [0, 15, 1, 16, 5, 17],
      [3, 8, 9, 12, 18, 2],
      [4, 14, 6, 13, 7, 19],
    ],
  },
}
