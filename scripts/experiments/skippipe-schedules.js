/**
 * How long an iteration takes with partial paths (SkipPipe, arXiv 2502.19913): planned without a look at delays, with one at delays but not at collisions, and with both; and with
 * whole paths. On the delays that the authors published and on some drawn at random. Everything is simulated.
 */
import { seededRandom, shuffled } from '../../dist/protocols/index.js'
import { collisions, iteration, planSkip, simulateIteration } from '../../dist/protocols/pipeline/skip/index.js'
import { fixture, pathOf, pathsOf, schedules } from '../../dist/protocols/pipeline/skip/testing/fixture.js'
import { linePlot } from './plot.js'
import { markdown, mean, text } from './table.js'

const REGIONS = 12

/**
 * 20 machines in 12 regions of a square, dealt to the stages at random. Seconds: 0.35 for each transfer, as on the published delays, and up to 3.5 with the distance, a
 * link being up to a third better or worse than another of its length.
 */
function drawn(seed) {
  const random = seededRandom('skippipe-schedules', seed)
  const regions = Array.from({ length: REGIONS }, () => [random.uniform(), random.uniform()])
  const machines = shuffled(
    Array.from({ length: 20 }, (_, machine) => machine),
    random,
  )
  const length = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by) / Math.SQRT2
  const transfer = Array.from({ length: 20 }, () => new Array(20).fill(0))
  for (let a = 0; a < 20; a++) {
    for (let b = 0; b < a; b++) {
      const quality = 2 / 3 + (2 / 3) * random.uniform()
      transfer[a][b] = 0.35 + 3.5 * length(regions[a % REGIONS], regions[b % REGIONS]) * quality
      transfer[b][a] = transfer[a][b]
    }
  }
  const origins = machines.splice(0, 5)
  const holders = Array.from({ length: 5 }, () => machines.splice(0, 3))
  return { ...fixture, transfer, origins, holders }
}

/** The same with machines from half as quick to twice as quick as those of the published set. */
function mixed(seed) {
  const random = seededRandom('skippipe-speeds', seed)
  const problem = drawn(seed)
  const machines = problem.machines.map((machine) => ({
    ...machine,
    forward: machine.forward * 2 ** (2 * random.uniform() - 1),
  }))
  return { ...problem, machines }
}

const SETS = { drawn, 'drawn, mixed speeds': mixed }

const seconds = (problem, paths) => simulateIteration(problem, iteration(problem, paths)).seconds

/** One path for each data peer and slot, as planned for one problem and carried out in another. */
const carriedOut = (problem, { rounds }) => mean(rounds.map((paths) => seconds(problem, paths)))

/** Whole pipelines, as many as a stage has holders, each boundary matched so that the slowest link of it is as quick as can be (DT-FM); all microbatches share them. */
function whole(problem) {
  const width = problem.holders[0].length
  let chains = problem.origins.slice(0, width).map((origin) => ({ origin, start: 0, hops: [] }))
  for (const [i, machines] of problem.holders.entries()) {
    const at = chains.map(({ origin, hops }) => hops.at(-1)?.machine ?? origin)
    const links = (order) => order.map((machine, k) => problem.transfer[at[k]][machine])
    const cost = (order) => Math.max(...links(order)) + 1e-3 * mean(links(order))
    const order = permutations(machines).reduce((best, other) => (cost(other) < cost(best) ? other : best))
    chains = chains.map((chain, k) => ({ ...chain, hops: [...chain.hops, { stage: i + 1, machine: order[k] }] }))
  }
  return throughChains(problem, chains)
}

/** The authors' baseline: three data peers, nine microbatches each, let go at 0, 0.1 and 0.2 s. */
const throughChains = (problem, chains) =>
  simulateIteration(
    problem,
    chains.flatMap((path) => Array.from({ length: 9 }, (_, m) => ({ path, release: Math.floor(m / 3) / 10 }))),
  ).seconds

function permutations(list) {
  return list.length < 2
    ? [list]
    : list.flatMap((item, i) =>
        permutations([...list.slice(0, i), ...list.slice(i + 1)]).map((rest) => [item, ...rest]),
      )
}

/** All delays the same: what a planner sees that looks at none. */
const flat = (problem) => {
  const typical = mean(problem.transfer.flatMap((row, i) => row.filter((_, j) => j !== i)))
  return { ...problem, transfer: problem.transfer.map((row, i) => row.map((_, j) => (i === j ? 0 : typical))) }
}

/** Times of one problem, and what planning it took. */
function timesOf(problem, seed, full = whole(problem)) {
  const begun = process.cpuUsage()
  const plan = planSkip(problem, { seed: [seed] })
  const { user, system } = process.cpuUsage(begun)
  const alone = planSkip(problem, { seed: [seed], collisions: 'ignore' })
  const blind = planSkip(flat(problem), { seed: [seed] })
  return {
    full,
    blind: carriedOut(problem, blind),
    alone: alone.seconds,
    plan: plan.seconds,
    met: [alone, plan].map(({ rounds }) => collisions(problem, rounds[0]).length),
    cpu: (user + system) / 1e6,
  }
}

/** The authors' own plans on their own delays, as this simulator plays them. */
const theirs = () => ({
  full: wholeAsPublished(),
  blind: seconds(fixture, pathsOf(schedules.blind.paths)),
  alone: seconds(fixture, pathsOf(schedules.colliding.paths)),
  plan: seconds(
    fixture,
    pathsOf(
      schedules.avoiding.paths.flatMap((path) => [path, path, path]),
      1,
    ),
  ),
})

const wholeAsPublished = () =>
  throughChains(
    fixture,
    schedules.full.paths.map((path) => pathOf(path)),
  )

/** What the authors' own simulator predicts for their four plans, seconds. */
const PREDICTED = { full: 79.94, blind: 48.92, alone: 35.43, plan: 33.31 }
const WAYS = Object.keys(PREDICTED)

export const experiment = {
  name: 'skippipe-schedules',
  title: 'SkipPipe: time of an iteration',
  paper:
    'arXiv 2502.19913: iterations up to 55 % shorter than the full pipeline’s with a third of the stages left out. The schedules published with the code (20 machines in 12 regions, six stages, four of them kept) are predicted to take ' +
    '79.94 s (all stages, DT-FM; 27 microbatches, the others 30), 48.92 s (blind to delays), 35.43 s (without regard to collisions) and 33.31 s.',
  setting:
    'An event simulator: a machine does one task at a time, a backward pass takes 1.5 forward passes, a machine holds 3 microbatches. The authors’ plans, ours on their delays, and ours on five sets of drawn delays (20 machines in 12 ' +
    'regions of a square, dealt to the stages at random), and on these with machines from half to twice as quick.',

  jobs: ({ reduced }) => [
    { set: 'published, the authors’ plans', seed: 1 },
    { set: 'published, our plans', seed: 1 },
    ...(reduced ? [] : Object.keys(SETS).flatMap((set) => [1, 2, 3, 4, 5].map((seed) => ({ set, seed })))),
  ],

  run({ set, seed }) {
    if (set.endsWith('authors’ plans')) return theirs()
    return set in SETS ? timesOf(SETS[set](seed), seed) : timesOf(fixture, seed, wholeAsPublished())
  },

  report(runs) {
    const rows = runs.map(({ job, result }) => [job.set in SETS ? `${job.set}, ${job.seed}` : job.set, result])
    const per = ({ full, plan }) => 1 - plan / 30 / (full / 27)
    const table = markdown(
      [
        'delays',
        'all stages',
        'blind to delays',
        'blind to collisions',
        'SkipPipe',
        'collisions',
        'with SkipPipe',
        'shorter, per microbatch',
      ],
      rows.map(([name, times]) => [
        name,
        ...WAYS.map((way) => text(times[way], 1)),
        ...(times.met?.map(String) ?? ['–', '–']),
        `${text(100 * per(times), 0)} %`,
      ]),
    )
    const [[, fixtureTimes], [, ours]] = rows
    const others = rows.slice(1).map(([, times]) => times)
    const claims = [
      {
        claim: 'this simulator gives the four times that the authors predict, within 1 %',
        ours: WAYS.map((way) => text(fixtureTimes[way], 2)).join(', '),
        holds: WAYS.every((way) => Math.abs(fixtureTimes[way] / PREDICTED[way] - 1) < 0.01),
        asserted: true,
      },
      {
        claim: 'all stages > blind to delays > blind to collisions > SkipPipe, on every set',
        holds: [fixtureTimes, ...others].every((times) =>
          WAYS.every((way, i) => i === 0 || times[way] <= times[WAYS[i - 1]]),
        ),
        asserted: true,
      },
      {
        claim: 'our plan takes no longer than theirs on their delays',
        ours: `${text(ours.plan, 1)} against ${text(fixtureTimes.plan, 1)} s`,
        holds: ours.plan <= 1.03 * fixtureTimes.plan,
        asserted: true,
      },
      {
        claim: 'iterations are up to 55 % shorter',
        ours: `${text(100 * Math.min(...others.map(per)), 0)} to ${text(100 * Math.max(...others.map(per)), 0)} % per microbatch`,
        holds: Math.max(...others.map(per)) >= 0.55,
      },
    ]
    const names = { full: 'all stages', blind: 'blind to delays', alone: 'blind to collisions', plan: 'SkipPipe' }
    const plots =
      others.length < 2
        ? {}
        : {
            '': linePlot({
              title: 'An iteration, with all stages and with some left out',
              x: 'set, in the order of the table (0: published)',
              y: 'seconds',
              series: WAYS.map((way) => ({ name: names[way], points: others.map((times, i) => [i, times[way]]) })),
            }),
          }
    return { text: table, plots, claims }
  },
}
