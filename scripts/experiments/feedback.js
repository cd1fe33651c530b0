#!/usr/bin/env node
/**
 * What error feedback is for, as tables of docs/codecs.md: ten quadratics whose minima lie apart, 200 dimensions, 4 values kept, and for each memory the best of six step sizes; and
 * models on a ring that gossip through their largest 5 %, raw and by public replicas; and by replicas through
 * the codes of `gossip`, with several steps. Prints Markdown; `--plot` also draws the descents under noise. Needs a build, and some
 * minutes of one core.
 *
 *   node scripts/experiments/feedback.js [--steps 4000] [--rounds 2000] [--plot docs/feedback.svg]
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { codecs } from '../../dist/protocols/codecs/index.js'
import { agree, complete, descend, gossipOnRing, ring } from '../../dist/protocols/feedback/testing/toys.js'
import { linePlot } from './plot.js'
import { markdown } from './table.js'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '4000' },
    rounds: { type: 'string', default: '2000' },
    plot: { type: 'string' },
  },
})
const steps = Number(values.steps)
const rounds = Number(values.rounds)

const MEMORIES = {
  dense: 'dense',
  none: { memory: 'none' },
  'classic (β = 1)': { memory: 'decay', beta: 1 },
  'decay (β = 0.95)': { memory: 'decay', beta: 0.95 },
  EF21: { memory: 'ef21' },
  'EControl (η = 0.02)': { memory: 'econtrol', eta: 0.02 },
}
const RATES = [0.0025, 0.005, 0.01, 0.02, 0.04, 0.08]
const NOISES = { 'no noise': 0, 'noise of variance 1': 1 }

/** The step size at which the gradient is smallest in the end. */
function best(options, noise) {
  const found = RATES.map((rate) => ({ rate, norm: descend(options, { rate, noise, steps }) }))
  return found.reduce((least, each) => (each.norm < least.norm ? each : least))
}

const short = (value) => (Number.isFinite(value) ? value.toPrecision(2).replace(/e([+-])/, 'e$1') : 'diverges')

const series = []
const rows = Object.entries(NOISES).map(([name, noise]) => [
  name,
  ...Object.entries(MEMORIES).map(([memory, options]) => {
    const { rate, norm } = best(options, noise)
    if (noise > 0 && values.plot !== undefined) {
      // Means of fiftieths of the way: single steps are all noise.
      const bin = Math.ceil(steps / 50)
      const sums = []
      const onStep = (step, size) => {
        sums[Math.floor(step / bin)] = (sums[Math.floor(step / bin)] ?? 0) + size ** 2 / bin
      }
      descend(options, { rate, noise, steps, onStep })
      series.push({ name: memory, points: sums.slice(0, 50).map((sum, i) => [i * bin, Math.log10(Math.sqrt(sum))]) })
    }
    return `${short(norm)} (${rate})`
  }),
])
console.log('Norm of the true gradient at the end (step size)\n')
console.log(markdown(['', ...Object.keys(MEMORIES)], rows))

const gammas = [0.1, 0.3]
console.log('\nDisagreement left on the ring\n')
console.log(
  markdown(
    ['', ...gammas.map((gamma) => `step ${gamma}`)],
    [
      ['raw', ...gammas.map((gamma) => short(gossipOnRing('raw', { gamma, rounds })))],
      ['replicas', ...gammas.map((gamma) => short(gossipOnRing('replicas', { gamma, rounds })))],
    ],
  ),
)

/** Steps towards replicas, by code: those around the default of `gossip` and its largest. */
const STEPS = { topk: [0.03, 0.05, 0.1, 0.2], sign: [0.3, 1], int4: [0.5, 1] }
console.log(`\nDisagreement left by replicas after ${rounds} rounds\n`)
console.log(
  markdown(
    ['code', 'gamma', 'ring of 12', '5, all neighbours'],
    Object.entries(STEPS).flatMap(([name, all]) =>
      all.map((gamma) => [
        name,
        String(gamma),
        short(agree(codecs[name], { peers: 12, graph: ring(12), gamma, rounds })),
        short(agree(codecs[name], { peers: 5, graph: complete(5), gamma, rounds })),
      ]),
    ),
  ),
)
if (values.plot !== undefined) {
  const title = 'Ten quadratics, 4 of 200 values sent, noise of variance 1'
  writeFileSync(values.plot, linePlot({ title, x: 'steps', y: 'log10 of the norm of the gradient', series }))
}
