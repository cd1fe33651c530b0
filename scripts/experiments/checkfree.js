#!/usr/bin/env node
/**
 * What it costs to lose stages: CheckFree and CheckFree+ (arXiv 2506.15461) against their baselines on one small model, cut into six stages of one layer, all in one process
 * on our engine. Every strategy meets the same failures, drawn from the seed. Checkpoints and redundant computation are not run: their curves follow from that of the run
 * without failures. Prints Markdown tables; `--out` keeps the curves and every recovery as JSON (what is there already is not run again), `--plot` draws the first seed.
 *
 *   npm run build && node scripts/experiments/checkfree.js [--seeds 0,1] [--steps 1500] [--chances 0.004] [--out FILE] [--plot FILE]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { averageInto, planRecovery, twinOf } from '../../dist/protocols/pipeline/recovery.js'
import {
  chanceOfAny,
  drawFailures,
  REDUNDANT_COST,
  replayCheckpoints,
  replayCost,
} from '../../dist/simulator/failures.js'
import { stagesInOneProcess } from './checkfree-stages.js'
import { linePlot } from './plot.js'
import { markdown, mean } from './table.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '0,1' },
    steps: { type: 'string', default: '1500' },
    /** Of each stage in each step; all arms at the first, CheckFree and CheckFree+ at all. 0.0009, 0.002, 0.004 and 0.01 are the paper's 5, 10, 16 and 33 % an hour. */
    chances: { type: 'string', default: '0.004' },
    arms: { type: 'string' },
    out: { type: 'string' },
    plot: { type: 'string' },
  },
})
const list = (text) => text.split(',').map(Number)
const [seeds, chances, steps] = [list(values.seeds), list(values.chances), Number(values.steps)]

const STAGES = 6
const MICROBATCHES = 2
const EVALUATE_EVERY = 10
const natural = Array.from({ length: STAGES }, (_, i) => i + 1)
const inner = natural.slice(1, -1)

/** What the strategies are. `lose`: stages that may be lost; plain CheckFree has no rule for the first and the last. */
const ARMS = {
  'no failures': { lose: [] },
  'swapping alone': { lose: [], twins: true },
  CheckFree: { rule: 'checkfree', lose: inner },
  uniform: { rule: 'uniform', lose: inner },
  copy: { rule: 'copy', lose: inner },
  random: { rule: 'random', lose: inner },
  // What PyTorch starts matrices with: far larger than our start, whose stages do next to nothing to the stream.
  'wide random': { rule: 'random', wide: true, lose: inner },
  'CheckFree on all': { rule: 'checkfree', lose: natural },
  'CheckFree+': { rule: 'checkfree', lose: natural, twins: true },
}
const WITHOUT = 'no failures'
const arms = values.arms?.split(',') ?? Object.keys(ARMS)

/** Trains one arm. At every failure the loss after each of the other rules is measured too, from the same state. */
async function train(seed, chance, { rule, lose, twins = false, wide = false }) {
  const machine = await stagesInOneProcess({ seed, stages: STAGES, microbatches: MICROBATCHES, steps })
  const failures = drawFailures({ seed, stages: STAGES, steps, chance })
  const swapped = natural.map((stage) => twinOf(stage, STAGES) ?? stage)
  const orders = Array.from({ length: MICROBATCHES }, (_, m) => (twins && m % 2 === 1 ? swapped : natural))
  const norms = new Map()
  // Of each part, the ends (0) included: steps that the optimizer's moments have taken in, and the factor of the rate.
  const optimizers = Array.from({ length: STAGES + 1 }, () => ({ applied: 0, rate: 1 }))
  const [curve, recoveries] = [[], []]

  /** What a stage becomes by a plan. */
  const rebuild = (stage, { sources }, start = wide ? machine.wideStart : machine.start) => {
    const place = machine.part(stage)
    if (sources.length === 0) return place.set(start(stage))
    place.set(machine.part(sources[0].stage))
    if (sources.length === 2) {
      machine.scratch.set(machine.part(sources[1].stage))
      averageInto(machine.kernels, place, machine.scratch, sources[1].weight)
    }
  }

  const recover = (step, stage, alive) => {
    const before = machine.evaluate()
    const state = { stages: STAGES, lost: stage, alive, twins, norm: (k) => norms.get(k) }
    const others = {}
    const measure = (name, other, start) => {
      rebuild(stage, planRecovery({ ...state, rule: other, twins: false }), start)
      others[name] = machine.evaluate() - before
    }
    for (const other of ['checkfree', 'uniform', 'copy', 'random']) measure(other, other, machine.start)
    measure('wide random', 'random', machine.wideStart)
    const plan = planRecovery({ ...state, rule })
    rebuild(stage, plan)
    machine.refresh(stage)
    optimizers[stage] = { applied: 0, rate: plan.rate }
    const { how, degraded, sources } = plan
    recoveries.push({ step, stage, how, degraded, sources, before, jump: machine.evaluate() - before, others })
  }

  for (let step = 1; step <= steps; step++) {
    const lost = failures[step - 1].filter((stage) => lose.includes(stage))
    // In rising order; what has been rebuilt serves the next.
    for (const [i, stage] of lost.entries())
      recover(
        step,
        stage,
        natural.filter((k) => !lost.slice(i).includes(k)),
      )
    machine.train(step - 1, orders)
    for (const [part, optimizer] of optimizers.entries()) {
      optimizer.applied++
      norms.set(part, machine.apply(part, { step, ...optimizer }))
    }
    if (step % EVALUATE_EVERY === 0) curve.push([step, machine.evaluate()])
  }
  machine.dispose()
  return { curve, recoveries }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

/** Of each point, the median of it and its two neighbours: one bad evaluation is no milestone. */
const smoothed = (curve) =>
  curve.map(([step], i) => [step, median(curve.slice(Math.max(0, i - 1), i + 2).map(([, y]) => y))])

/** Median loss over the last third. A last value would mostly say when the last failure was. */
const level = ({ curve }) => median(curve.filter(([step]) => step > (2 * steps) / 3).map(([, loss]) => loss))

/** First step at which the smoothed loss is at the target. */
const stepsTo = ({ curve }, target) => smoothed(curve).find(([, loss]) => loss <= target)?.[0]

const results = values.out !== undefined && existsSync(values.out) ? JSON.parse(readFileSync(values.out, 'utf8')) : {}
const keep = () => values.out !== undefined && writeFileSync(values.out, `${JSON.stringify(results)}\n`)
const keyOf = (name, seed, chance) =>
  [name, `seed ${seed}`, ...(ARMS[name].lose.length > 0 ? [chance] : []), steps].join(', ')
const runOf = (name, seed, chance = chances[0]) => results[keyOf(name, seed, chance)]

for (const chance of chances) {
  for (const seed of seeds) {
    const wanted = chance === chances[0] ? arms : arms.filter((name) => name.startsWith('CheckFree'))
    for (const name of wanted) {
      const key = keyOf(name, seed, chance)
      if (results[key] !== undefined) continue
      const begun = performance.now()
      results[key] = await train(seed, chance, ARMS[name])
      results[key].seconds = Math.round((performance.now() - begun) / 1000)
      console.error(
        `${key}: ${level(results[key]).toFixed(3)}, ${results[key].recoveries.length} recoveries, ${results[key].seconds} s`,
      )
      keep()
    }
  }
}

const text = (value, digits = 3) => (value === undefined || Number.isNaN(value) ? '–' : value.toFixed(digits))

/** Losses that training without failures reaches after these shares of its steps. */
const SHARES = [0.3, 0.5, 0.7]
const targetOf = (seed, share) => smoothed(runOf(WITHOUT, seed).curve).find(([step]) => step >= share * steps)[1]
const targets = seeds.flatMap((seed) => SHARES.map((share) => ({ seed, loss: targetOf(seed, share) })))

console.log('\nMedian validation loss over the last third, and (losses of stages).\n')
console.log(
  markdown(
    ['', ...seeds.map((seed) => `seed ${seed}`)],
    arms.map((name) => [
      name,
      ...seeds.map((seed) => `${text(level(runOf(name, seed)))} (${runOf(name, seed).recoveries.length})`),
    ]),
  ),
)

const all = (names, of) =>
  seeds.flatMap((seed) => names.flatMap((name) => runOf(name, seed)?.recoveries ?? []).flatMap(of))
console.log('\nRise of the validation loss right after a recovery, mean and largest, in the runs with each rule.\n')
console.log(
  markdown(
    ['', 'recoveries', 'mean', 'largest'],
    arms.flatMap((name) => {
      const kinds = new Set(all([name], ({ how, degraded }) => (degraded ? `${how}, degraded` : how)))
      return [...kinds].map((kind) => {
        const jumps = all([name], ({ how, degraded, jump }) =>
          (degraded ? `${how}, degraded` : how) === kind ? [jump] : [],
        )
        return [`${name}: ${kind}`, String(jumps.length), text(mean(jumps)), text(Math.max(...jumps))]
      })
    }),
  ),
)

console.log('\nThe same for all rules at the same moments: the failures of stages 2 to 5 in the runs of CheckFree.\n')
console.log(
  markdown(
    ['', 'mean', 'median', 'largest', 'smallest of all rules'],
    ['checkfree', 'uniform', 'copy', 'random', 'wide random'].map((rule) => {
      const moments = all(['CheckFree'], ({ others }) => [others])
      const jumps = moments.map((others) => others[rule])
      const best = moments.filter((others) => others[rule] === Math.min(...Object.values(others))).length
      return [rule, text(mean(jumps)), text(median(jumps)), text(Math.max(...jumps)), `${best} of ${jumps.length}`]
    }),
  ),
)

/** Steps that training with checkpoints computes until it has come `wanted` steps. */
function replayed(seed, chance, interval, lose, wanted) {
  const failures = drawFailures({ seed, stages: STAGES, steps: 40 * steps, chance })
  const at = replayCheckpoints(
    failures.map((lost) => lost.some((stage) => lose.includes(stage))),
    interval,
  ).indexOf(wanted)
  return at < 0 ? undefined : at + 1
}

for (const chance of chances) {
  const ran = arms.filter((name) => seeds.every((seed) => runOf(name, seed, chance) !== undefined))
  const shares = SHARES.map((share) => `${100 * share} %`).join(', ')
  console.log(`\nSteps to the losses of training without failures at ${shares} of its steps; chance ${chance}.\n`)
  const rows = ran.map((name) => [
    name,
    ...targets.map(({ seed, loss }) => text(stepsTo(runOf(name, seed, chance), loss), 0)),
  ])
  const without = ({ seed, loss }) => stepsTo(runOf(WITHOUT, seed), loss)
  for (const [what, lose] of [
    ['stages 2 to 5 lost', inner],
    ['all stages lost', natural],
  ]) {
    for (const interval of [10, 50, 100]) {
      const cost = replayCost(interval, chanceOfAny(chance, lose.length))
      rows.push([
        `checkpoint every ${interval}, ${what} (expected x ${cost.toFixed(2)})`,
        ...targets.map((target) => text(replayed(target.seed, chance, interval, lose, without(target)), 0)),
      ])
    }
  }
  rows.push([
    `redundant computation (x ${REDUNDANT_COST})`,
    ...targets.map((target) => text(REDUNDANT_COST * without(target), 0)),
  ])
  console.log(markdown(['', ...targets.map(({ seed, loss }) => `seed ${seed}, ${text(loss)}`)], rows))
}

if (values.plot !== undefined) {
  const [seed] = seeds
  const shown = arms.filter((name) => name !== 'CheckFree on all')
  const series = shown.map((name) => ({
    name,
    dashed: name === 'swapping alone',
    points: smoothed(runOf(name, seed).curve).filter(([step]) => step >= steps / 5),
  }))
  writeFileSync(
    values.plot,
    linePlot({
      title: `Losing stages, chance ${chances[0]} per stage and step`,
      x: 'step',
      y: 'validation loss',
      series,
    }),
  )
}
