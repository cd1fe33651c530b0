#!/usr/bin/env node
/**
 * What in `spsa` matters? A decoder that knows the stories meets them with eight letters exchanged and is adapted by four machines (spsa-toy.js): with the byte, in full precision and through
 * the quantizer of the reference code, with both kinds of directions, other rates and epsilons, and with `seeded` at as many bytes. How many machines, and bytes against other ways to train,
 * are the experiment `one-byte` of run.js.
 *
 * Prints a JSON object per arm as it ends, and one with the means over the seeds at the end.
 * Arms of one seed differ in nothing else: the same batches and the same directions, where the kind is the same.
 *
 *   node scripts/experiments/spsa-ablations.js [--rounds 200] [--seeds 2] [--only codes,directions,seeded,rates,epsilon] [--engine native] [--results FILE]
 *
 * --results names what an earlier call printed with the same options: what is in it is not played again. With --seeds 0 nothing is, and the means are of that.
 */
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { gradientFigures, openToy, playSeeded, playSpsa } from './spsa-toy.js'
import { mean } from './table.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seeds: { type: 'string', default: '2' },
    only: { type: 'string', default: 'codes,directions,seeded' },
    engine: { type: 'string' },
    results: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const seeds = Number(values.seeds)
const parts = values.only.split(',')
/** Contributions of a machine in a round of `spsa`. */
const SAMPLES = 4
/** Rounds after which the loss is looked at: 16 times. */
const marks = Array.from({ length: 16 }, (_, i) => Math.round(((i + 1) * rounds) / 16))

/** The arms, by name. What they do not say is in the defaults of spsa-toy.js: 4 machines, sum, learning rate 5e-4, the byte, signs. */
const arms = { 'sum, 4': {} }
if (parts.includes('codes')) {
  arms.float32 = { code: 'float32' }
  arms.reference = { code: 'reference' }
  arms['quantum 2^-6'] = { quantum: 2 ** -6 }
  arms['clip 8'] = { clip: 8 }
}
if (parts.includes('directions')) {
  arms.gaussian = { directions: 'gaussian' }
  arms['one sample a round'] = { samples: 1, rounds: SAMPLES * rounds, at: marks.map((mark) => SAMPLES * mark) }
}
if (parts.includes('rates')) {
  for (const machines of [1, 4])
    for (const learningRate of [1.25e-4, 2.5e-4, 1e-3])
      arms[`rate ${learningRate}, ${machines}`] = { machines, learningRate }
}
if (parts.includes('epsilon')) for (const epsilon of [1e-4, 1e-2]) arms[`epsilon ${epsilon}`] = { epsilon }
if (parts.includes('seeded')) {
  const bytes = SAMPLES * rounds
  const seeded = (innerSteps, coordinates, learningRate, blocks = 1) => {
    const sent = Math.floor(bytes / coordinates)
    const at = [...new Set(marks.map((mark) => Math.round((mark * sent) / rounds)))].filter((mark) => mark > 0)
    arms[`seeded ${innerSteps} steps, ${coordinates} coordinates, ${blocks} blocks`] = {
      ...{ seeded: true, innerSteps, coordinates, blocks, learningRate, rounds: sent, at },
    }
  }
  seeded(1, 4, 0.03)
  seeded(4, 16, 0.03)
  seeded(10, 16, 0.03)
  seeded(10, 64, 0.05)
  seeded(10, 64, 0.05, 8)
  seeded(40, 256, 0.05)
}

/** What an earlier call printed, and what this one adds: the world, and one line per arm and seed. */
const earlier =
  values.results === undefined
    ? []
    : (await readFile(values.results, 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
let world = earlier.find(({ shifted, arm }) => shifted !== undefined && arm === undefined)
const done = earlier.filter(({ arm }) => arm !== undefined)
let toy
for (let seed = 1; seed <= seeds; seed++) {
  for (const [name, { seeded = false, ...options }] of Object.entries(arms)) {
    if (done.some((line) => line.arm === name && line.seed === seed)) continue
    if (toy === undefined) {
      toy = await openToy({ engine: values.engine, note: console.error })
      world = { parameters: toy.parameters, before: toy.before, shifted: toy.shifted }
      console.log(JSON.stringify(world))
    }
    const begin = performance.now()
    const play = seeded ? playSeeded : playSpsa
    const { losses, gradients, quantum } = play(toy, { rounds, at: marks, seed, ...options })
    const seconds = (performance.now() - begin) / 1000
    const figures = gradientFigures(gradients, quantum)
    done.push({ arm: name, seed, losses, final: Object.values(losses).at(-1), figures, seconds })
    console.log(JSON.stringify(done.at(-1)))
  }
}

const runsOf = (name) => done.filter(({ arm }) => arm === name)

/** Mean loss over the seeds at each mark, and the spread of the last one. */
const summary = Object.fromEntries(
  [...new Set(done.map(({ arm }) => arm))].map((name) => {
    const runs = runsOf(name)
    const finals = runs.map(({ final }) => final)
    const losses = Object.keys(runs[0].losses).map((mark) => [mark, mean(runs.map((run) => run.losses[mark]))])
    const spread = { least: Math.min(...finals), most: Math.max(...finals) }
    return [name, { seeds: runs.length, losses: Object.fromEntries(losses), final: mean(finals), ...spread }]
  }),
)

/** Final loss of one arm over that of another, means over the seeds that both have; null without such a seed. */
function ratio(one, other) {
  const pairs = runsOf(one).flatMap((run) => {
    const same = runsOf(other).find(({ seed }) => seed === run.seed)
    return same === undefined ? [] : [[run.final, same.final]]
  })
  return pairs.length === 0 ? null : mean(pairs.map(([a]) => a)) / mean(pairs.map(([, b]) => b))
}
const claims = {}
if (parts.includes('codes')) {
  claims.byteOverFloat32 = ratio('sum, 4', 'float32')
  claims.byteWithinOnePercentOfFloat32 = Math.abs((claims.byteOverFloat32 ?? Number.NaN) - 1) < 0.01
}
console.log(JSON.stringify({ ...world, rounds, samples: SAMPLES, summary, claims }))
