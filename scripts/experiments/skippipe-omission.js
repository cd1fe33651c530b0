#!/usr/bin/env node
/**
 * What a model loses when stages are left out of it after training, trained on all stages and on partial paths (SkipPipe, arXiv 2502.19913): six stages of one layer, all in one
 * process on our engine. Prints a Markdown table; `--out` keeps the figures as JSON (what is there already is not run again), `--plot` draws the losses.
 *
 *   npm run build && node scripts/experiments/skippipe-omission.js [--steps 1000] [--seed 0] [--arms 'full,balanced'] [--out FILE] [--plot FILE]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { seededRandom, shuffled } from '../../dist/protocols/index.js'
import { stagesInOneProcess } from './checkfree-stages.js'
import { linePlot } from './plot.js'
import { markdown, mean } from './table.js'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '0' },
    arms: { type: 'string' },
    out: { type: 'string' },
    plot: { type: 'string' },
  },
})
const [steps, seed] = [Number(values.steps), Number(values.seed)]

const STAGES = 6
const MICROBATCHES = 5
const ROWS = 4
const EVALUATE_EVERY = 50
const natural = Array.from({ length: STAGES }, (_, i) => i + 1)
const others = natural.slice(1)
const everything = Array.from({ length: MICROBATCHES }, () => natural)

/** What the microbatches of a step go through: 4 of the 6 stages each, the first always, each other one as often as any other. */
function balanced(random) {
  // In a ring of five stages each microbatch takes three in a row, beginning one later than the one before it; which stage sits where is drawn.
  const ring = shuffled(others, random)
  return Array.from({ length: MICROBATCHES }, (_, m) =>
    [1, ...[0, 1, 2].map((i) => ring[(m + i) % ring.length])].sort((a, b) => a - b),
  )
}

/** Half of the paths have two neighbours swapped, the first stage excepted. */
function swapped(path, random) {
  const pairs = path.flatMap((stage, i) => (i > 0 && path[i + 1] === stage + 1 ? [i] : []))
  if (pairs.length === 0 || random.uniform() < 0.5) return path
  const at = pairs[random.integer(pairs.length)]
  return path.with(at, path[at + 1]).with(at + 1, path[at])
}

const ARMS = {
  full: () => everything,
  balanced: (_, random) => balanced(random).map((path) => swapped(path, random)),
  'balanced, every tenth step full': (step, random) =>
    step % 10 === 0 ? everything : balanced(random).map((path) => swapped(path, random)),
  'balanced, in order': (_, random) => balanced(random),
  'balanced, always the same': () => {
    const random = seededRandom('omission-fixed', seed)
    return balanced(random).map((path) => swapped(path, random))
  },
  'two steps in three the first four': (step, random) =>
    step % 3 === 0 ? balanced(random) : everything.map((path) => path.slice(0, 4)),
}
const arms = values.arms?.split(',') ?? Object.keys(ARMS)

/** The first stage and every choice of so many others. */
const chosen = (count, from = others) =>
  count === 0 ? [[]] : from.flatMap((stage, i) => chosen(count - 1, from.slice(i + 1)).map((rest) => [stage, ...rest]))

function train(name) {
  return stagesInOneProcess({ seed, stages: STAGES, microbatches: MICROBATCHES, rows: ROWS, steps }).then((machine) => {
    const random = seededRandom('omission', seed, name)
    const curve = []
    let passed = 0
    for (let step = 1; step <= steps; step++) {
      const orders = ARMS[name](step, random)
      machine.train(step - 1, orders)
      passed += orders.reduce((sum, order) => sum + order.length, 0)
      for (const part of [0, ...natural]) machine.apply(part, { step, applied: step, rate: 1 })
      if (step % EVALUATE_EVERY === 0) curve.push([step, machine.evaluate()])
    }
    const without = (count) => mean(chosen(count).map((stages) => machine.evaluate([1, ...stages])))
    const result = { curve, full: machine.evaluate(), three: without(3), two: without(2), work: passed / (steps * 30) }
    machine.dispose()
    return result
  })
}

const results = values.out !== undefined && existsSync(values.out) ? JSON.parse(readFileSync(values.out, 'utf8')) : {}
for (const name of arms) {
  const key = `${name}, seed ${seed}, ${steps}`
  if (results[key] !== undefined) continue
  const begun = performance.now()
  results[key] = await train(name)
  const { full, three, two } = results[key]
  const took = Math.round((performance.now() - begun) / 1000)
  console.error(`${key}: ${full.toFixed(3)}, ${three.toFixed(3)}, ${two.toFixed(3)}; ${took} s`)
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(results)}\n`)
}

const runOf = (name) => results[`${name}, seed ${seed}, ${steps}`]
console.log(
  markdown(
    ['training', 'work', 'loss, all stages', 'perplexity with 3 of 5, ratio', 'with 2 of 5'],
    arms.map((name) => {
      const { work, full, three, two } = runOf(name)
      const ratio = (loss) => Math.exp(loss - full).toFixed(2)
      return [name, work.toFixed(2), full.toFixed(3), ratio(three), ratio(two)]
    }),
  ),
)
if (values.plot !== undefined) {
  const series = arms.map((name) => ({ name, points: runOf(name).curve }))
  const plot = { title: 'Training on partial paths', x: 'steps', y: 'validation loss, all stages' }
  writeFileSync(values.plot, linePlot({ ...plot, series }))
}
