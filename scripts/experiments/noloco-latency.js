/** How long replicas wait for each other: a tree all-reduce against averages in pairs, and DiLoCo's barrier against NoLoCo's. Draws alone, no training. */
import { seededRandom } from '../../dist/protocols/index.js'
import { linePlot } from './plot.js'
import { markdown, mean, text } from './table.js'

/** Deviations of a message's time, its mean being 1. */
const JITTERS = [0, 0.5, 1, 1.5, 2, 2.5]
const TREES = [4, 16, 64, 256, 1024, 4096, 10_000]
const SWARMS = [16, 64, 256, 1024, 4096, 10_000]
const INNER = [10, 25, 50, 100]
/** Pairs and tree messages drawn for a mean, about. */
const PAIRS = 400_000

/** Draws from a log-normal distribution: exp(mu + sigma x), x normal. Two normals from two uniforms (Box & Muller). */
function logNormals(random, mu, sigma) {
  let kept
  return () => {
    let x = kept
    kept = undefined
    if (x === undefined) {
      const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()))
      const angle = 2 * Math.PI * random.uniform()
      x = radius * Math.cos(angle)
      kept = radius * Math.sin(angle)
    }
    return Math.exp(mu + sigma * x)
  }
}

/** Time until a message of each of `count` leaves has come to the root of a binary tree, each node waiting for both of its children. The way back takes as long. */
function treeTime(count, draw) {
  if (count === 1) return 0
  const half = count >> 1
  return Math.max(treeTime(half, draw) + draw(), treeTime(count - half, draw) + draw())
}

/** Mean time of an all-reduce over that of a pair's exchange: both are twice the way there. */
function treeRatio({ replicas, jitter, seed, repetitions }) {
  const sigma = Math.sqrt(Math.log(1 + jitter ** 2))
  const draw = logNormals(seededRandom('latency-tree', seed, replicas, jitter), -(sigma ** 2) / 2, sigma)
  let [tree, pair] = [0, 0]
  for (let i = 0; i < repetitions; i++) tree += treeTime(replicas, draw) / repetitions
  for (let i = 0; i < PAIRS; i++) pair += Math.max(draw(), draw()) / PAIRS
  return tree / pair
}

/**
 * Time of `rounds` outer steps with a barrier for all over that with one for each pair, exchanges taking no time. A local step is log-normal (mu 1, variance 0.5 of the logarithm).
 * Both see the same steps.
 */
function barrierRatio({ replicas, inner, seed, rounds }) {
  const random = seededRandom('latency-barrier', seed, replicas, inner)
  const draw = logNormals(random, 1, Math.sqrt(0.5))
  const order = Uint32Array.from({ length: replicas }, (_, i) => i)
  const at = new Float64Array(replicas)
  let barrier = 0
  for (let round = 0; round < rounds; round++) {
    let slowest = 0
    for (let i = 0; i < replicas; i++) {
      let phase = 0
      for (let step = 0; step < inner; step++) phase += draw()
      at[i] += phase
      slowest = Math.max(slowest, phase)
    }
    barrier += slowest
    for (let i = replicas - 1; i > 0; i--) {
      const j = random.integer(i + 1)
      const other = order[i]
      order[i] = order[j]
      order[j] = other
    }
    for (let i = 0; i + 1 < replicas; i += 2) {
      const [a, b] = [order[i], order[i + 1]]
      at[a] = Math.max(at[a], at[b])
      at[b] = at[a]
    }
  }
  return barrier / mean([...at])
}

export const experiment = {
  name: 'noloco-latency',
  title: 'NoLoCo: waiting for others',
  paper:
    'arXiv 2506.10911: for a constant message time a tree all-reduce takes log2 N times as long as a pair’s average, with jitter more; with 1,024 replicas and 100 inner steps DiLoCo’s barrier costs some 20 % of the time.',
  setting:
    'Monte Carlo. First: message times are log-normal with mean 1; a node of the tree waits for both children. Second: only waiting counts, a step’s time is log-normal (mu 1, variance 0.5 of the logarithm), exchanges take no ' +
    'time; the mean end of all replicas is compared. Up to the paper’s N = 1,024, and beyond it to 10,000.',

  jobs({ reduced }) {
    const trees = reduced ? [4, 64] : TREES
    const swarms = reduced ? [16, 64] : SWARMS
    return [
      ...trees.flatMap((replicas) =>
        (reduced ? [0, 1] : JITTERS).map((jitter) => ({
          ...{ what: 'tree', replicas, jitter, seed: 1 },
          repetitions: Math.max(100, Math.round(PAIRS / replicas)),
        })),
      ),
      ...swarms.flatMap((replicas) =>
        (reduced ? [100] : INNER).map((inner) => ({
          ...{ what: 'barrier', replicas, inner, seed: 1 },
          rounds: replicas > 1024 ? 50 : 250,
        })),
      ),
    ]
  },

  run({ what, ...options }) {
    return what === 'tree' ? treeRatio(options) : barrierRatio(options)
  },

  report(runs, { reduced }) {
    const cell = (what, replicas, key) =>
      runs.find(({ job }) => job.what === what && job.replicas === replicas && (job.jitter ?? job.inner) === key)
        ?.result
    const of = (what, key) => [...new Set(runs.filter(({ job }) => job.what === what).map(({ job }) => job[key]))]
    const [trees, swarms] = [of('tree', 'replicas'), of('barrier', 'replicas')]
    const [jitters, inners] = [of('tree', 'jitter'), of('barrier', 'inner')]
    const count = (n) => n.toLocaleString('en')
    const tables = [
      'Time of a tree all-reduce, in times of a pair’s average; across: deviation of a message’s time over its mean.',
      markdown(
        ['N', ...jitters.map(String)],
        trees.map((n) => [count(n), ...jitters.map((jitter) => text(cell('tree', n, jitter), 1))]),
      ),
      'Time of training with DiLoCo’s barrier, in times of NoLoCo’s; across: inner steps.',
      markdown(
        ['N', ...inners.map(String)],
        swarms.map((n) => [count(n), ...inners.map((inner) => text(cell('barrier', n, inner), 2))]),
      ),
    ]
    const constant = trees.map((n) => cell('tree', n, 0))
    const claims = [
      {
        claim: 'constant message time: log2 N (of the next power of two where N is none)',
        holds: constant.every((ratio, i) => Math.abs(ratio - Math.ceil(Math.log2(trees[i]))) < 1e-9),
        asserted: true,
      },
      {
        claim: 'jitter makes it more, at every N',
        holds: trees.every((n) =>
          jitters.every((jitter, i) => i === 0 || cell('tree', n, jitter) > cell('tree', n, jitters[i - 1])),
        ),
        asserted: true,
      },
    ]
    const barrier = cell('barrier', 1024, 100)
    if (!reduced)
      claims.push(
        {
          claim: 'DiLoCo’s barrier costs some 20 % at N = 1,024 and 100 inner steps',
          ours: `${text(100 * (barrier - 1), 0)} %`,
          holds: Math.abs(barrier - 1.2) < 0.03,
          asserted: true,
        },
        {
          claim: 'the more replicas and the fewer inner steps, the more',
          holds: swarms.every((n, i) =>
            inners.every(
              (inner, j) =>
                (i === 0 || cell('barrier', n, inner) > cell('barrier', swarms[i - 1], inner)) &&
                (j === 0 || cell('barrier', n, inner) < cell('barrier', n, inners[j - 1])),
            ),
          ),
          asserted: true,
        },
      )
    const log2 = (n) => Math.log2(n)
    const plots = {
      '': linePlot({
        title: 'Tree all-reduce over average in pairs',
        x: 'log2 N',
        y: 'ratio of times',
        series: jitters.map((jitter) => ({
          name: `deviation ${jitter}`,
          points: trees.map((n) => [log2(n), cell('tree', n, jitter)]),
        })),
      }),
      '-barrier': linePlot({
        title: 'DiLoCo over NoLoCo, waiting alone',
        x: 'log2 N',
        y: 'ratio of times',
        series: inners.map((inner) => ({
          name: `${inner} inner steps`,
          points: swarms.map((n) => [log2(n), cell('barrier', n, inner)]),
        })),
      }),
    }
    return { text: tables.join('\n\n'), plots, claims }
  },
}
