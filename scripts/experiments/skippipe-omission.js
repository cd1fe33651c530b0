/**
 * What a model loses when stages are left out of it after training, trained on all stages and on partial paths (SkipPipe, arXiv 2502.19913): six stages of one layer, all in one
 * process on our engine.
 */
import { seededRandom, shuffled } from '../../dist/protocols/index.js'
import { stagesInOneProcess } from './checkfree-stages.js'
import { linePlot } from './plot.js'
import { markdown, mean, text } from './table.js'

const STAGES = 6
const MICROBATCHES = 5
const ROWS = 4
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

/** By name: the stages of each microbatch of a step. */
const ARMS = {
  full: () => everything,
  balanced: (_, random) => balanced(random).map((path) => swapped(path, random)),
  'balanced, every tenth step full': (step, random) =>
    step % 10 === 0 ? everything : balanced(random).map((path) => swapped(path, random)),
  'two steps in three the first four': (step, random) =>
    step % 3 === 0 ? balanced(random) : everything.map((path) => path.slice(0, 4)),
}
/** What the arms are called on the page. */
const TITLES = {
  full: 'all stages (the control)',
  balanced: 'balanced partial paths',
  'balanced, every tenth step full': 'the same, every tenth step all stages',
  'two steps in three the first four': 'unbalanced: two steps in three the first four',
}

/** The first stage and every choice of so many others. */
const chosen = (count, from = others) =>
  count === 0 ? [[]] : from.flatMap((stage, i) => chosen(count - 1, from.slice(i + 1)).map((rest) => [stage, ...rest]))

async function train({ arm, seed, steps }, log) {
  const machine = await stagesInOneProcess({ seed, stages: STAGES, microbatches: MICROBATCHES, rows: ROWS, steps })
  const random = seededRandom('omission', seed, arm)
  const curve = []
  let passed = 0
  for (let step = 1; step <= steps; step++) {
    const orders = ARMS[arm](step, random)
    machine.train(step - 1, orders)
    passed += orders.reduce((sum, order) => sum + order.length, 0)
    for (const part of [0, ...natural]) machine.apply(part, { step, applied: step, rate: 1 })
    if (step % (steps / 20) === 0) curve.push([step, machine.evaluate()])
    if (step % 100 === 0) log(`step ${step}`)
  }
  const without = (count) => mean(chosen(count).map((stages) => machine.evaluate([1, ...stages])))
  const full = machine.evaluate()
  const result = { curve, full, three: without(3), two: without(2), work: passed / (steps * MICROBATCHES * STAGES) }
  machine.dispose()
  return result
}

export const experiment = {
  name: 'skippipe-omission',
  title: 'SkipPipe: leaving stages out of the model',
  paper:
    'arXiv 2502.19913: a model that was trained on partial paths can be run with half of its stages for 7 % of perplexity (the withdrawn later version: with 75 % for 2 %), and skipping does not hurt convergence. Its reviewers ask for an ' +
    'ordinarily trained model as the control.',
  setting:
    'Six stages of one layer of width 48 (0.2 million parameters), the embedded stories, 5 microbatches of 4 × 64 bytes a step, Adam 1e-3, 1,000 steps; four of six stages a microbatch, each of the last five as often as any other, ' +
    'half of the paths with two neighbours swapped. Then the mean loss over all choices of the first stage and three, or two, of the other five.',

  jobs({ reduced }) {
    if (reduced) return [{ arm: 'balanced', seed: 0, steps: 20 }]
    return Object.keys(ARMS).map((arm) => ({ arm, seed: 0, steps: 1000 }))
  },

  run: (job, { log }) => train(job, log),

  report(runs, { reduced }) {
    const of = (arm) => runs.find(({ job }) => job.arm === arm).result
    const ratio = (arm, key) => Math.exp(of(arm)[key] - of(arm).full)
    const arms = runs.map(({ job }) => job.arm)
    const table = markdown(
      ['training', 'work', 'loss, all stages', 'with 3 of 5', 'perplexity, ratio', 'with 2 of 5', 'ratio'],
      arms.map((arm) => {
        const { work, full, three, two } = of(arm)
        return [
          ...[TITLES[arm], text(work, 2), text(full), text(three), `× ${text(ratio(arm, 'three'), 2)}`],
          ...[text(two), `× ${text(ratio(arm, 'two'), 2)}`],
        ]
      }),
    )
    if (reduced) {
      const { work, curve } = of('balanced')
      const claims = [
        {
          claim: 'two thirds of the work are done, and something is learned',
          holds: Math.abs(work - 2 / 3) < 1e-5 && curve.at(-1)[1] < curve[0][1],
          asserted: true,
        },
      ]
      return { text: table, plots: {}, claims }
    }
    // At equal work: the loss of the full arm after two thirds of its steps.
    const { curve } = of('full')
    const atEqualWork = curve.find(([step]) => step >= (2 / 3) * curve.at(-1)[0])[1]
    const tenth = 'balanced, every tenth step full'
    const claims = [
      {
        claim: 'trained on partial paths, a model hardly minds when stages are left out: ratio below 1.1 with 3 of 5',
        ours: `× ${text(ratio('balanced', 'three'), 2)}; with 2 of 5 × ${text(ratio('balanced', 'two'), 2)} (the paper: half of the model costs 7 %)`,
        holds: ratio('balanced', 'three') < 1.1,
        asserted: true,
      },
      {
        claim: 'trained on all stages it does (the control): ratio above 1.5',
        ours: `× ${text(ratio('full', 'three'), 2)}`,
        holds: ratio('full', 'three') > 1.5,
        asserted: true,
      },
      {
        claim: 'stages left out evenly make it hardier than stages left out unevenly',
        ours: `× ${text(ratio('balanced', 'three'), 2)} against × ${text(ratio('two steps in three the first four', 'three'), 2)} with 3 of 5`,
        holds: ratio('balanced', 'three') < ratio('two steps in three the first four', 'three'),
        asserted: true,
      },
      {
        claim: 'every tenth step on all stages improves the whole model',
        ours: `${text(of(tenth).full)} for ${text(of('balanced').full)}`,
        holds: of(tenth).full < of('balanced').full,
        asserted: true,
      },
      {
        claim: 'skipping does not hurt convergence (equal steps)',
        ours: `${text(of('balanced').full)} against ${text(of('full').full)}`,
        holds: of('balanced').full < of('full').full + 0.02,
      },
      {
        claim: 'skipping does not hurt convergence (equal work)',
        ours: `${text(of('balanced').full)} against ${text(atEqualWork)} on all stages after two thirds of the steps`,
        holds: of('balanced').full < atEqualWork + 0.02,
      },
    ]
    const plots = {
      '': linePlot({
        title: 'Training on partial paths',
        x: 'steps',
        y: 'validation loss, all stages',
        series: arms.map((arm) => ({ name: TITLES[arm], points: of(arm).curve })),
      }),
    }
    return { text: table, plots, claims }
  },
}
