/**
 * What it costs to lose stages: CheckFree and CheckFree+ (arXiv 2506.15461) against other ways to rebuild a stage, on one small model cut into six stages of one layer, all in one
 * process on our engine. Every arm meets the same failures, drawn from the seed. Checkpoints and redundant computation are not run: what they cost follows from the curve of the run
 * without failures.
 */
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
import { markdown, mean, median, of, text } from './table.js'

const STAGES = 6
const MICROBATCHES = 2
const EVALUATE_EVERY = 10
const SHAPE = { architecture: 'decoder', context: 32, width: 32, heads: 2, hidden: 80 }
const natural = Array.from({ length: STAGES }, (_, i) => i + 1)
const inner = natural.slice(1, -1)

/** What the arms are. `lose`: stages that may be lost; plain CheckFree has no rule for the first and the last. */
const ARMS = {
  'no failures': { lose: [] },
  'swapping alone': { lose: [], twins: true },
  CheckFree: { rule: 'checkfree', lose: inner },
  uniform: { rule: 'uniform', lose: inner },
  copy: { rule: 'copy', lose: inner },
  random: { rule: 'random', lose: inner },
  // What PyTorch starts matrices with: far larger than our start, whose stages do next to nothing to the stream.
  'wide random': { rule: 'random', wide: true, lose: inner },
  'CheckFree+': { rule: 'checkfree', lose: natural, twins: true },
}
const RULES = ['checkfree', 'uniform', 'copy', 'random', 'wide random']

/** Chance of each stage in each step, by what the paper calls it: failures an hour. */
const CHANCES = { 0.0009: '5 %', 0.002: '10 %', 0.004: '16 %', 0.01: '33 %' }
const MAIN = 0.004

/** Trains one arm. In the arm of CheckFree the loss after each of the other rules is measured at every failure too, from the same state. */
async function train({ arm, seed, chance, steps }, log) {
  const { rule, lose, twins = false, wide = false } = ARMS[arm]
  const machine = await stagesInOneProcess({ seed, stages: STAGES, microbatches: MICROBATCHES, steps, shape: SHAPE })
  const failures = drawFailures({ seed, stages: STAGES, steps, chance })
  const swapped = natural.map((stage) => twinOf(stage, STAGES) ?? stage)
  const orders = Array.from({ length: MICROBATCHES }, (_, m) => (twins && m % 2 === 1 ? swapped : natural))
  const norms = new Map()
  // Of each part, the ends (0) included: steps that the optimizer's moments have taken in, and the factor of the rate.
  const optimizers = Array.from({ length: STAGES + 1 }, () => ({ applied: 0, rate: 1 }))
  const [curve, recoveries] = [[], []]

  /** What a stage becomes by a plan. */
  const rebuild = (stage, { sources }, start) => {
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
    for (const other of arm === 'CheckFree' ? RULES : []) {
      const start = other === 'wide random' ? machine.wideStart : machine.start
      const planned = planRecovery({ ...state, rule: other === 'wide random' ? 'random' : other })
      rebuild(stage, planned, start)
      others[other] = machine.evaluate() - before
    }
    const plan = planRecovery({ ...state, rule })
    rebuild(stage, plan, wide ? machine.wideStart : machine.start)
    machine.refresh(stage)
    optimizers[stage] = { applied: 0, rate: plan.rate }
    const jump = machine.evaluate() - before
    recoveries.push({ step, stage, how: plan.degraded ? `${plan.how}, degraded` : plan.how, jump, others })
  }

  for (let step = 1; step <= steps; step++) {
    const lost = failures[step - 1].filter((stage) => lose.includes(stage))
    // In rising order; what has been rebuilt serves the next.
    for (const [i, stage] of lost.entries()) {
      const dead = lost.slice(i)
      recover(
        step,
        stage,
        natural.filter((k) => !dead.includes(k)),
      )
    }
    machine.train(step - 1, orders)
    for (const [part, optimizer] of optimizers.entries()) {
      optimizer.applied++
      norms.set(part, machine.apply(part, { step, ...optimizer }))
    }
    if (step % EVALUATE_EVERY === 0) curve.push([step, machine.evaluate()])
    if (step % 100 === 0) log(`step ${step}`)
  }
  machine.dispose()
  return { curve, recoveries }
}

/** Of each point, the median of it and its two neighbours: one bad evaluation is no milestone. */
const smoothed = (curve) =>
  curve.map(([step], i) => [step, median(curve.slice(Math.max(0, i - 1), i + 2).map(([, loss]) => loss))])

/** Median loss over the last third. A last value would mostly say when the last failure was. */
const level = ({ curve }) => {
  const steps = curve.at(-1)[0]
  return median(curve.filter(([step]) => step > (2 * steps) / 3).map(([, loss]) => loss))
}

/** First step at which the smoothed loss is at the target. */
const stepsTo = ({ curve }, target) => smoothed(curve).find(([, loss]) => loss <= target)?.[0]

/** Steps that training with checkpoints computes until it has come `wanted` steps. */
function replayed({ seed, chance, interval, lose, wanted }) {
  if (wanted === undefined) return undefined
  const failures = drawFailures({ seed, stages: STAGES, steps: 60 * wanted, chance })
  const failed = failures.map((lost) => lost.some((stage) => lose.includes(stage)))
  const at = replayCheckpoints(failed, interval).indexOf(wanted)
  return at < 0 ? undefined : at + 1
}

/** Shares of the steps of training without failures after which its loss is taken for a target. */
const SHARES = [0.3, 0.5, 0.7]

export const experiment = {
  name: 'checkfree',
  title: 'CheckFree: losing stages',
  paper:
    'arXiv 2506.15461: perplexity after 30,000 iterations at 16 % failures an hour (1.5 billion parameters, OpenWebText) 16.07 without failures, 17.59 CheckFree, 17.07 CheckFree+; of ways to rebuild a stage random is worst ' +
    'by far, then copy, then the plain average, then CheckFree (500 million: 121, 29.2, –, 22.6). Iterations to a loss of 2.85 at 5 / 10 / 16 %, in those without failures: checkpoints 2.2 / 2.45 / 2.48, CheckFree ' +
    '1.45 / 1.6 / 2.2, CheckFree+ 1.4 / 1.45 / 1.8, redundant computation 1 at 1.65 times the time.',
  setting:
    'Six stages of one layer of width 32 (0.09 million parameters), the embedded stories, 2 microbatches of 8 × 32 bytes a step, Adam at a constant 1e-3, 1,500 steps; each stage is lost with the chance of the paper’s ' +
    'configurations in each step: 0.0009, 0.002, 0.004, 0.01 for its 5, 10, 16, 33 % an hour (which are 3.5, 7.6, 14.6 and 32.7 % at its 91 s an iteration). Stages 2 to 5 may be lost, with CheckFree+ all. Checkpoints are ' +
    'replayed on the curve without failures, as in the paper; keeping them costs nothing there.',

  jobs({ reduced }) {
    const job = (arm, seed, chance = MAIN, steps = 1500) => ({
      arm,
      seed,
      chance: ARMS[arm].lose.length > 0 ? chance : 0,
      steps,
    })
    if (reduced) return ['no failures', 'CheckFree'].map((arm) => job(arm, 0, 0.03, 50))
    const others = Object.keys(CHANCES)
      .map(Number)
      .filter((chance) => chance !== MAIN)
    return [
      ...Object.keys(ARMS).map((arm) => job(arm, 0)),
      ...others.flatMap((chance) => ['CheckFree', 'CheckFree+'].map((arm) => job(arm, 0, chance))),
      ...['no failures', 'CheckFree', 'uniform', 'copy', 'random'].map((arm) => job(arm, 1)),
    ]
  },

  run: (job, { log }) => train(job, log),

  report(runs, { reduced }) {
    const run = (arm, seed, chance = reduced ? 0.03 : MAIN) =>
      runs.find(
        ({ job }) => job.arm === arm && job.seed === seed && (job.chance === chance || ARMS[arm].lose.length === 0),
      )?.result
    const arms = [...new Set(runs.map(({ job }) => job.arm))]
    const seeds = [...new Set(runs.map(({ job }) => job.seed))]
    const cell = (arm, seed) => {
      const found = run(arm, seed)
      return found === undefined ? '–' : `${text(level(found))} (${found.recoveries.length})`
    }
    const levels = markdown(
      ['median validation loss over the last third (losses of stages)', ...seeds.map((seed) => `seed ${seed}`)],
      arms.map((arm) => [arm, ...seeds.map((seed) => cell(arm, seed))]),
    )
    const moments = seeds.flatMap((seed) => run('CheckFree', seed)?.recoveries.map(({ others }) => others) ?? [])
    const jumps = markdown(
      [
        `rise of the loss right after a recovery, at the same ${moments.length} moments`,
        'mean',
        'median',
        'largest',
        'smallest of all',
      ],
      RULES.map((rule) => {
        const of = moments.map((others) => others[rule])
        const best = moments.filter((others) => others[rule] === Math.min(...Object.values(others))).length
        return [rule, text(mean(of)), text(median(of)), text(Math.max(...of)), String(best)]
      }),
    )
    if (reduced) {
      const at = (rule) => mean(moments.map((others) => others[rule]))
      const claims = [
        {
          claim: 'a rebuilt stage costs less than one begun with ordinary random matrices',
          holds: at('checkfree') < at('wide random'),
          asserted: true,
        },
        {
          claim: 'training goes on after losses',
          holds: level(run('CheckFree', 0)) < run('CheckFree', 0).curve[0][1],
          asserted: true,
        },
      ]
      return { text: [levels, jumps].join('\n\n'), plots: {}, claims }
    }
    return {
      text: [levels, jumps, ...targets(run)].join('\n\n'),
      plots: plots(run),
      claims: claims(run, moments, seeds),
    }
  },
}

/** Steps to the targets by chance, for seed 0. */
function targets(run) {
  const without = run('no failures', 0)
  const steps = without.curve.at(-1)[0]
  const losses = SHARES.map((share) => smoothed(without.curve).find(([step]) => step >= share * steps)[1])
  const base = losses.map((loss) => stepsTo(without, loss))
  const ratio = (found) => found.map((at, i) => (at === undefined ? 'not reached' : `× ${text(at / base[i], 2)}`))
  const rows = Object.entries(CHANCES).flatMap(([key, name]) => {
    const chance = Number(key)
    const row = (what, found) => [name, what, ...ratio(found)]
    const checkpoints = (interval, lose) => base.map((wanted) => replayed({ seed: 0, chance, interval, lose, wanted }))
    const expected = (interval, lose) => text(replayCost(interval, chanceOfAny(chance, lose.length)), 2)
    return [
      ...['CheckFree', 'CheckFree+'].map((arm) =>
        row(
          arm === 'CheckFree' ? 'CheckFree, stages 2 to 5 lost' : 'CheckFree+, all stages lost',
          losses.map((loss) => stepsTo(run(arm, 0, chance), loss)),
        ),
      ),
      ...[50, 100].map((interval) =>
        row(
          `checkpoint every ${interval}, all stages lost (expected × ${expected(interval, natural)})`,
          checkpoints(interval, natural),
        ),
      ),
    ]
  })
  rows.push(['any', 'redundant computation, in time', ...base.map(() => `× ${REDUNDANT_COST}`)])
  const head = base.map((at, i) => `loss ${text(losses[i])} (${at})`)
  const closed = markdown(
    ['C P / (1 − (1 − P)^C), six stages', ...Object.values(CHANCES)],
    [50, 100].map((interval) => [
      `C = ${interval}`,
      ...Object.keys(CHANCES).map(
        (chance) => `× ${text(replayCost(interval, chanceOfAny(Number(chance), STAGES)), 2)}`,
      ),
    ]),
  )
  return [
    'Steps to the losses that training without failures has after 30, 50 and 70 % of its steps (in brackets: when), seed 0, in times of those.',
    markdown(['failures an hour', 'way', ...head], rows),
    'What checkpoints cost on average, in steps computed per step of progress.',
    closed,
  ]
}

function claims(run, moments, seeds) {
  const value = (arm, seed) => level(run(arm, seed))
  const below = (a, b) => seeds.every((seed) => value(a, seed) < value(b, seed))
  const sides = (...names) => seeds.map((seed) => names.map((arm) => text(value(arm, seed))).join(' and '))
  const at = (rule) => mean(moments.map((others) => others[rule]))
  const without = run('no failures', 0)
  const target = smoothed(without.curve).find(([step]) => step >= 0.5 * without.curve.at(-1)[0])[1]
  const to = (arm, chance) => stepsTo(run(arm, 0, chance), target) ?? Number.POSITIVE_INFINITY
  const base = stepsTo(without, target)
  const checkpoint = (interval, chance) =>
    replayed({ seed: 0, chance, interval, lose: inner, wanted: base }) ?? Number.POSITIVE_INFINITY
  return [
    {
      claim: 'losing stages costs loss: no failures < CheckFree',
      ours: of(sides('no failures', 'CheckFree')),
      holds: below('no failures', 'CheckFree'),
      asserted: true,
    },
    { claim: 'an average ends below a copy', ours: of(sides('uniform', 'copy')), holds: below('uniform', 'copy') },
    {
      claim: 'a copy ends below a stage begun anew',
      ours: of(sides('copy', 'random')),
      holds: below('copy', 'random'),
    },
    {
      claim: 'a stage begun anew with ordinary random matrices ends worst by far',
      ours: `${text(value('wide random', 0))}; the others at most ${text(Math.max(...['CheckFree', 'uniform', 'copy', 'random'].map((arm) => value(arm, 0))))}`,
      holds: ['CheckFree', 'uniform', 'copy', 'random'].every((arm) => value(arm, 0) < value('wide random', 0)),
    },
    {
      claim: 'right after a loss: ordinary random matrices worse than a copy, a copy worse than averages',
      ours: `${text(at('wide random'))}, ${text(at('copy'))}, ${text(at('uniform'))}, ${text(at('checkfree'))}`,
      holds: at('wide random') > at('copy') && at('copy') > Math.max(at('uniform'), at('checkfree')),
      asserted: true,
    },
    {
      claim: 'weighted by gradients better than the plain average',
      ours: of(seeds.map((seed) => `${text(value('CheckFree', seed))} against ${text(value('uniform', seed))}`)),
      holds: below('CheckFree', 'uniform'),
    },
    {
      claim: 'CheckFree+ ends below CheckFree',
      ours: `${text(value('CheckFree+', 0))} (all six stages lost) against ${text(value('CheckFree', 0))}`,
      holds: value('CheckFree+', 0) < value('CheckFree', 0),
    },
    {
      claim: 'swapping alone slows training when nothing fails',
      ours: `${text(value('swapping alone', 0))} against ${text(value('no failures', 0))}`,
      holds: value('swapping alone', 0) > value('no failures', 0),
      asserted: true,
    },
    ...[0.0009, 0.002, 0.004].map((chance) => ({
      claim: `${CHANCES[chance]} an hour: CheckFree needs no more steps than checkpoints every 100 (to the half-way target, stages 2 to 5 lost with both)`,
      ours: `${text(to('CheckFree', chance) / base, 2)} against ${text(checkpoint(100, chance) / base, 2)}`,
      holds: to('CheckFree', chance) <= checkpoint(100, chance),
    })),
    {
      claim: '5 % an hour: CheckFree is ahead of redundant computation in time (the paper: 368 against 420 h)',
      ours: `× ${text(to('CheckFree', 0.0009) / base, 2)} against × ${REDUNDANT_COST}`,
      holds: to('CheckFree', 0.0009) < REDUNDANT_COST * base,
      asserted: true,
    },
    {
      claim: 'checkpoints cost 2.2 to 2.48 times the iterations at 5 to 16 % an hour',
      ours: `by the paper’s own rates and the closed form ${of([0.0009, 0.002, 0.004].map((chance) => text(replayCost(100, chanceOfAny(chance, STAGES)), 2)))}`,
      holds: replayCost(100, chanceOfAny(0.0009, STAGES)) > 2,
    },
  ]
}

function plots(run) {
  const from = (curve) => smoothed(curve).filter(([step]) => step >= curve.at(-1)[0] / 5)
  const arms = Object.keys(ARMS)
  return {
    '': linePlot({
      title: `Losing stages at ${CHANCES[MAIN]} an hour, seed 0`,
      x: 'step',
      y: 'validation loss',
      series: arms.map((name) => ({
        name,
        points: from(run(name, 0).curve),
        ...(name === 'swapping alone' && { dashed: true }),
      })),
    }),
    '-chances': linePlot({
      title: 'Losing stages more or less often, seed 0',
      x: 'step',
      y: 'validation loss',
      series: [
        { name: 'no failures', points: from(run('no failures', 0).curve) },
        ...['CheckFree', 'CheckFree+'].flatMap((arm) =>
          Object.entries(CHANCES).map(([chance, name], i) => ({
            name: `${arm}, ${name}`,
            dashed: arm === 'CheckFree+',
            colour: i + 1,
            points: from(run(arm, 0, Number(chance)).curve),
          })),
        ),
      ],
    }),
  }
}
