#!/usr/bin/env node
/**
 * How long an iteration takes with partial paths (SkipPipe, arXiv 2502.19913): planned without a look at delays, with one at delays but not at collisions, and with both;
 * and with whole paths. On the delays that the authors published and on some drawn at random. Everything is simulated. Prints a Markdown table.
 *
 *   npm run build && node scripts/experiments/skippipe-schedules.js [--seeds 1,2,3,4,5] [--plot FILE]
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { seededRandom, shuffled } from '../../dist/protocols/index.js'
import { collisions, iteration, planSkip, simulateIteration } from '../../dist/protocols/pipeline/skip/index.js'
import { fixture, pathOf, pathsOf, schedules } from '../../dist/protocols/pipeline/skip/testing/fixture.js'
import { linePlot } from './plot.js'
import { markdown, mean } from './table.js'

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '1,2,3,4,5' }, plot: { type: 'string' } },
})
const seeds = values.seeds.split(',').map(Number)

const REGIONS = 12
const MICROBATCHES = 6

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

const published = throughChains(
  fixture,
  schedules.full.paths.map((path) => pathOf(path)),
)
const theirs = {
  full: published,
  blind: seconds(fixture, pathsOf(schedules.blind.paths)),
  alone: seconds(fixture, pathsOf(schedules.colliding.paths)),
  plan: seconds(
    fixture,
    pathsOf(
      schedules.avoiding.paths.flatMap((path) => [path, path, path]),
      1,
    ),
  ),
}
const rows = [
  ['published delays, their plans', theirs],
  ['published delays, our plans', timesOf(fixture, 1, published)],
  ...seeds.map((seed) => [`drawn delays, seed ${seed}`, timesOf(drawn(seed), seed)]),
]
const shown = (value, digits = 1) => (value === undefined ? '–' : value.toFixed(digits))
console.log(`Seconds of an iteration: ${3 * 9} microbatches with all stages, ${5 * MICROBATCHES} with some.\n`)
console.log(
  markdown(
    ['', 'all stages', 'blind', 'alone', 'SkipPipe', 'collisions, alone', 'with', 'planned in, s of CPU'],
    rows.map(([name, { full, blind, alone, plan, met, cpu }]) => [
      name,
      ...[full, blind, alone, plan].map((value) => shown(value)),
      ...(met?.map(String) ?? ['–', '–']),
      shown(cpu),
    ]),
  ),
)
if (values.plot !== undefined) {
  const arms = { 'all stages': 'full', blind: 'blind', alone: 'alone', SkipPipe: 'plan' }
  const series = Object.entries(arms).map(([name, key]) => ({
    name,
    points: rows.slice(1).map(([, times], i) => [i, times[key]]),
  }))
  const plot = {
    title: 'An iteration, with all stages and with some left out',
    x: 'set of delays (0: published)',
    y: 'seconds',
  }
  writeFileSync(values.plot, linePlot({ ...plot, series }))
}
