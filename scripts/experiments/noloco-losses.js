/**
 * NoLoCo against gradients averaged in every step (FSDP's arithmetic), DiLoCo and no exchange at all, on a small decoder: loss, and how far the replicas are apart. NoLoCo's
 * arms take the product's own step; FSDP and DiLoCo are written plainly here, because no strategy of the product is either.
 */

import { pairsOf } from '../../dist/protocols/noloco/pairing.js'
import { Reach, shareOf } from '../../dist/protocols/noloco/reach.js'
import { encodeTask, inspectTask, stepTask } from '../../dist/protocols/noloco/tasks.js'
import { linePlot } from './plot.js'
import { openReplicas } from './replicas.js'
import { correlation, markdown, mean, of, text } from './table.js'

const REPLICAS = 8
const ROWS = 4

const PAPER = { alpha: 0.5, beta: 0.7, gamma: 0.7 }
/** By name: local steps between two outer steps, and what these are. DiLoCo's alpha and its twice as many steps are those of the paper's own baseline. */
const ARMS = {
  FSDP: {},
  NoLoCo: { inner: 20, codec: 'float32', constants: PAPER },
  'NoLoCo, int8': { inner: 20, codec: 'int8', constants: PAPER },
  'NoLoCo as shipped': { inner: 20, codec: 'int8', constants: PAPER, reach: true },
  'NoLoCo, 40 steps': { inner: 40, codec: 'float32', constants: PAPER },
  DiLoCo: { inner: 40, alpha: 0.3, beta: 0.7 },
  'NoLoCo, gamma 0': { inner: 20, constants: { ...PAPER, gamma: 0 } },
  none: { inner: 20 },
  'NoLoCo, alpha 0.9': { inner: 20, codec: 'float32', constants: { ...PAPER, alpha: 0.9 } },
}
/** Those that a second seed repeats. */
const AGAIN = ['FSDP', 'NoLoCo', 'DiLoCo', 'none']

/** All replicas step with the mean of what they trained: delta <- alpha delta + beta mean(theta - phi), phi <- phi + delta, theta <- phi. */
function diloco({ replicas, kernels, mean }, { alpha, beta }) {
  mean.fill(0)
  for (const { theta } of replicas) kernels.axpy(mean, 1 / replicas.length, theta)
  for (const { theta, phi, delta } of replicas) {
    kernels.scale(delta, alpha)
    kernels.axpy(delta, beta, mean)
    kernels.axpy(delta, -beta, phi)
    kernels.axpy(phi, 1, delta)
    theta.set(phi)
  }
}

/** A pair's step without the pull of the slow weights (gamma = 0), which the product refuses: delta <- alpha delta + beta mean over the pair of (theta - phi). */
function withoutPull({ kernels, mean }, pair, { alpha, beta }) {
  mean.fill(0)
  for (const { theta, phi } of pair) {
    kernels.axpy(mean, 1 / 2, theta)
    kernels.axpy(mean, -1 / 2, phi)
  }
  for (const { theta, phi, delta } of pair) {
    kernels.scale(delta, alpha)
    kernels.axpy(delta, beta, mean)
    kernels.axpy(phi, 1, delta)
    theta.set(phi)
  }
}

/** An exchange of the product: both encode, both look at the other's message, both step. Returns the share of it that counted. */
function exchange(pair, options, reaches) {
  const progress = pair.map(({ context }) => encodeTask.run(context, options).progress)
  for (const [i, { context }] of pair.entries()) context.bytes('inbox').set(pair[1 - i].context.bytes('outbox'))
  const found = pair.map(({ context }) => inspectTask.run(context, options))
  const { fault, distance } = found[0]
  // Replicas that run away from each other are what the arm is about: the guards have no say where reach has none.
  if (fault !== undefined && reaches !== undefined) throw new Error(fault.message)
  let share = 1
  if (reaches !== undefined) {
    const reach = pair.map(({ name }, i) => reaches.get(name).of(progress[i]))
    for (const [i, { name }] of pair.entries()) reaches.get(name).note(pair[1 - i].name, distance)
    share = shareOf(distance, Math.min(...reach))
  }
  for (const { context } of pair) stepTask.run(context, { ...options, share })
  return share
}

export const experiment = {
  name: 'noloco-losses',
  title: 'NoLoCo: loss and disagreement',
  paper:
    'arXiv 2506.10911: perplexities of FSDP, DiLoCo and NoLoCo at 125 million parameters with 8 replicas 25.5, 27.6, 27.3 (Reddit) and 29.1, 35.4, 34.5 (C4); the correlation of the replicas’ ' +
    'standard deviation with the learning rate is 0.91 to 0.97.',
  setting:
    'A decoder of two layers of width 32 (0.04 million parameters) on the embedded stories, 8 replicas × 4 sequences of 32 bytes a step, 800 steps, Adam 3e-3, warm-up 50, cosine to a tenth. NoLoCo exchanges every 20 ' +
    'steps, DiLoCo every 40 (the paper: 50 and 100). FSDP is one model with the batches of all. Disagreement: standard deviation over the replicas right after their outer step, root mean square over the parameters.',

  jobs({ reduced }) {
    const steps = reduced ? 20 : 800
    const job = (arm, seed) => ({ arm, seed, steps })
    if (reduced) return ['NoLoCo', 'NoLoCo as shipped', 'DiLoCo', 'none'].map((arm) => job(arm, 0))
    return [...Object.keys(ARMS).map((arm) => job(arm, 0)), ...AGAIN.map((arm) => job(arm, 1))]
  },

  async run({ arm, seed, steps }, { log }) {
    const { inner, codec, constants, reach, ...outer } = ARMS[arm]
    const alone = arm === 'FSDP'
    // The reduced form has no room for more.
    const every = steps < 100 ? 5 : inner
    const machine = await openReplicas({
      ...{ seed, steps, codec },
      count: alone ? 1 : REPLICAS,
      rows: alone ? REPLICAS * ROWS : ROWS,
    })
    const { replicas } = machine
    const reaches = reach ? new Map(replicas.map(({ name }) => [name, new Reach()])) : undefined
    const names = replicas.map(({ name }) => name)
    const byName = new Map(replicas.map((replica) => [replica.name, replica]))
    const [curve, apart, shares] = [[], [], []]
    let rate = 0
    for (let step = 1; step <= steps; step++) {
      for (const { trainer } of replicas) rate = trainer.step().learningRate
      if (!alone && step % every === 0) {
        if (outer.beta !== undefined) diloco(machine, outer)
        else if (constants !== undefined) {
          for (const pair of pairsOf(`losses ${seed}`, step / every, names)) {
            const both = pair.map((name) => byName.get(name))
            if (constants.gamma === 0) withoutPull(machine, both, constants)
            else shares.push(exchange(both, { codec, constants }, reaches))
          }
        }
        apart.push([step, machine.disagreement(), rate])
      }
      if (step % (steps / (steps < 100 ? 2 : 10)) === 0) curve.push([step, machine.evaluate()])
      if (step % 100 === 0) log(`step ${step}`)
    }
    machine.dispose()
    return { curve, apart, shares: shares.length === 0 ? null : mean(shares), parameters: machine.parameters }
  },

  report(runs, { reduced }) {
    const arms = [...new Set(runs.map(({ job }) => job.arm))]
    const seeds = [...new Set(runs.map(({ job }) => job.seed))]
    const run = (arm, seed) => runs.find(({ job }) => job.arm === arm && job.seed === seed)?.result
    const final = (arm, seed) => run(arm, seed)?.curve.at(-1)[1]
    const settled = ({ apart }) => apart.filter(([step]) => step > (reduced ? 5 : 50))
    const related = (result) => {
      const points = settled(result)
      return correlation(
        points.map(([, std]) => std),
        points.map(([, , rate]) => rate),
      )
    }
    const end = ({ apart }) => apart.at(-1)[1]
    const most = ({ apart }) => Math.max(...apart.map(([, std]) => std))
    const both = (arm, value) => of(seeds.flatMap((seed) => (run(arm, seed) === undefined ? [] : [value(arm, seed)])))
    // What is left after DiLoCo's step is rounding.
    const apart = (arm) => run(arm, seeds[0]).apart.length > 0 && most(run(arm, seeds[0])) > 1e-6
    const table = markdown(
      [
        '',
        `validation loss, seed ${seeds.join(' / ')}`,
        'perplexity',
        'disagreement at the end (largest)',
        'correlation with the rate',
      ],
      arms.map((arm) => [
        arm,
        both(arm, (...key) => text(final(...key))),
        both(arm, (...key) => text(Math.exp(final(...key)), 2)),
        apart(arm) ? both(arm, (...key) => `${text(end(run(...key)), 5)} (${text(most(run(...key)), 5)})`) : '0',
        apart(arm) ? both(arm, (...key) => text(related(run(...key)), 2)) : '–',
      ]),
    )
    const ordered = (...names) =>
      seeds.every((seed) => names.every((arm, i) => i === 0 || final(names[i - 1], seed) < final(arm, seed)))
    const NOLOCO = seeds.map((seed) => run('NoLoCo', seed))
    const ratios = seeds.map((seed) => Math.exp(final('NoLoCo', seed) - final('DiLoCo', seed)))
    const claims = reduced
      ? [
          {
            claim: 'DiLoCo’s replicas are equal after each outer step',
            holds: most(run('DiLoCo', 0)) < 1e-7,
            asserted: true,
          },
          {
            claim: 'replicas that exchange are nearer to each other than replicas that do not',
            holds: end(run('NoLoCo', 0)) < end(run('none', 0)),
            asserted: true,
          },
          {
            claim: 'the code changes the loss by less than a percent',
            holds: Math.abs(final('NoLoCo as shipped', 0) / final('NoLoCo', 0) - 1) < 0.01,
            asserted: true,
          },
        ]
      : [
          {
            claim: 'FSDP < NoLoCo < none, and FSDP < DiLoCo < none',
            holds: ordered('FSDP', 'NoLoCo', 'none') && ordered('FSDP', 'DiLoCo', 'none'),
            asserted: true,
          },
          {
            claim:
              'NoLoCo’s perplexity is below DiLoCo’s (the paper: by 1.1 and 2.5 %), with every seed by more than half a percent',
            ours: of(ratios.map((ratio) => `${text(100 * (ratio - 1), 1)} %`)),
            holds: ratios.every((ratio) => ratio < 0.995),
          },
          {
            claim:
              'disagreement follows the learning rate: correlation above 0.85 after warm-up (the paper: 0.91 to 0.97)',
            ours: of(NOLOCO.map((result) => text(related(result), 3))),
            holds: NOLOCO.every((result) => related(result) > 0.85),
            asserted: true,
          },
          {
            claim: 'disagreement peaks after warm-up and falls: at the end below 35 % of its maximum',
            ours: of(NOLOCO.map((result) => `${text((100 * end(result)) / most(result), 0)} %`)),
            holds: NOLOCO.every((result) => end(result) < 0.35 * most(result)),
            asserted: true,
          },
          {
            claim:
              'without the pull of the slow weights (gamma 0) replicas are at least five times as far apart in the end',
            ours: `× ${text(end(run('NoLoCo, gamma 0', 0)) / end(NOLOCO[0]), 0)}`,
            holds: end(run('NoLoCo, gamma 0', 0)) > 5 * end(NOLOCO[0]),
            asserted: true,
          },
          {
            claim:
              'alpha 0.9 with gamma 0.7 holds replicas together, as the paper’s interval for gamma (equation 74) has it',
            ours: `it is outside the exact bound: disagreement × ${text(end(run('NoLoCo, alpha 0.9', 0)) / end(NOLOCO[0]), 0)}, loss ${text(final('NoLoCo, alpha 0.9', 0))}`,
            holds: end(run('NoLoCo, alpha 0.9', 0)) < 5 * end(NOLOCO[0]),
          },
          {
            claim: 'FSDP is ahead of NoLoCo by 7 % (Reddit) to 19 % (C4) of perplexity',
            ours: of(
              seeds.map((seed) => `${text(100 * (Math.exp(final('NoLoCo', seed) - final('FSDP', seed)) - 1), 0)} %`),
            ),
            holds: seeds.every((seed) => final('NoLoCo', seed) - final('FSDP', seed) < Math.log(1.2)),
          },
          {
            claim: 'int8 messages cost nothing (ours, no claim of the paper): loss within 1 %',
            ours: `${text(final('NoLoCo, int8', 0))} for ${text(final('NoLoCo', 0))}`,
            holds: final('NoLoCo, int8', 0) < 1.01 * final('NoLoCo', 0),
            asserted: true,
          },
          {
            claim: 'the bound on far partners costs nothing among the honest (ours): loss within 1 %',
            ours: `${text(final('NoLoCo as shipped', 0))} for ${text(final('NoLoCo, int8', 0))}; a message counts for ${text(run('NoLoCo as shipped', 0).shares, 2)} on average`,
            holds: final('NoLoCo as shipped', 0) < 1.01 * final('NoLoCo, int8', 0),
          },
        ]
    const shown = arms.filter(apart)
    const rates = run(shown[0], seeds[0]).apart
    const scale = Math.max(...rates.map(([, , rate]) => rate))
    const plots = {
      '': linePlot({
        title: 'Validation loss of the replicas, mean',
        x: 'local steps',
        y: 'nats per byte',
        // What begins alike and what runs away would leave no room for the rest.
        series: arms
          .filter((name) => name !== 'NoLoCo, alpha 0.9')
          .map((name) => ({ name, points: run(name, seeds[0]).curve.filter((_, i) => reduced || i > 1) })),
      }),
      '-disagreement': linePlot({
        title: 'Disagreement after an outer step (relative to the largest of NoLoCo)',
        x: 'local steps',
        y: 'standard deviation, log10',
        series: [
          ...shown.map((name) => ({
            name,
            points: run(name, seeds[0]).apart.map(([step, std]) => [step, Math.log10(std / most(NOLOCO[0]))]),
          })),
          {
            name: 'learning rate',
            dashed: true,
            points: rates.map(([step, , rate]) => [step, Math.log10(rate / scale)]),
          },
        ],
      }),
    }
    return { text: table, plots, claims }
  },
}
