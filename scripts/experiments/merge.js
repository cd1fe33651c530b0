#!/usr/bin/env node
/**
 * What averaging does to models: one merge of all after sparse gossip (arXiv 2507.06542), and variance correction for models from different
 * starts (arXiv 2404.04616). Sixteen peers, small networks on Gaussian clusters, Dirichlet shards. Figures are accuracies on common
 * validation data. Prints Markdown tables; `--out` keeps all figures as JSON.
 *
 *   npm run build && node scripts/experiments/merge.js [--seeds 1,2,3] [--out FILE]
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { mixing } from '../../dist/protocols/index.js'
import { everybody, randomPairs, randomPulls, trainInRounds } from '../../dist/simulator/testing/gossip-rounds.js'
import { markdown, mean, share } from './table.js'

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '1,2,3' }, out: { type: 'string' } } })
const seeds = values.seeds.split(',').map(Number)
const PEERS = 16

const mixes = (make) => (kernels, model) => {
  const options = make(model)
  return (own, messages, scratch) => mixing.mix(kernels, own, messages, options, scratch)
}

/** Standings of every seed, with the corrections of the variance guard. */
const runs = (name, make) =>
  seeds.map((seed) => {
    const { standings, corrections } = trainInRounds({ seed, honest: PEERS, ...make(seed) })
    console.error(`${name}, seed ${seed}: ${standings.map(({ accuracy }) => share(accuracy)).join(' ')}`)
    return { seed, standings, corrections }
  })

/** One merge at the end, by how often peers meet before. */
function merging() {
  const rows = [
    ['never', () => () => []],
    ['never, different starts', () => () => [], 'different'],
    ['pairs, one round in 50', (seed) => randomPairs(PEERS, 0.02, seed)],
    ['pairs, one in 10', (seed) => randomPairs(PEERS, 0.1, seed)],
    ['pairs, one in 5', (seed) => randomPairs(PEERS, 0.2, seed)],
    ['pairs, every round', (seed) => randomPairs(PEERS, 1, seed)],
    ['all with all, every round', () => everybody(PEERS)],
  ].map(([name, topology, start = 'same']) => {
    const all = runs(name, (seed) => ({
      widths: [32, 64, 10],
      alpha: 0.1,
      rounds: 80,
      localSteps: 15,
      batch: 32,
      learningRate: 0.05,
      start,
      topology: topology(seed),
      mixer: mixes(() => ({ rule: mixing.mean })),
    }))
    const last = all.map(({ standings }) => standings.at(-1))
    const local = mean(last.map(({ accuracy }) => accuracy))
    const merged = mean(last.map((standing) => standing.merged.accuracy))
    const gain = mean(last.map((standing) => mixing.counterfactualGain(standing.merged, standing.locals).accuracy))
    const consensusError = mean(last.map((standing) => standing.consensusError))
    return { name, local, merged, gain, consensusError, runs: all }
  })
  console.log('\nOne merge of all after 80 rounds of 15 local steps.\n')
  console.log(
    markdown(
      ['peers meet', 'mean of the local models', 'merged model', 'gain', 'consensus error'],
      rows.map((row) => [row.name, ...[row.local, row.merged, row.gain, row.consensusError].map(share)]),
    ),
  )
  return rows
}

/** Variance correction, by start. */
function variance() {
  const evaluate = [5, 10, 20, 40, 60]
  const rows = [
    ['different', false],
    ['different', true],
    ['same', false],
    ['same', true],
  ].map(([start, corrected]) => {
    const name = `${start} starts, ${corrected ? 'corrected' : 'plain'}`
    const all = runs(name, (seed) => ({
      widths: [32, 64, 64, 64, 10],
      alpha: 0.5,
      rounds: 60,
      localSteps: 20,
      batch: 32,
      learningRate: 0.05,
      start,
      evaluate,
      topology: randomPulls(PEERS, 4, seed),
      // Half own, half the mean of four random others.
      mixer: mixes((model) => ({ rule: mixing.mean, ownWeight: 4, ...(corrected ? { tensors: model.weights } : {}) })),
    }))
    const accuracies = evaluate.map((_, i) => mean(all.map(({ standings }) => standings[i].accuracy)))
    return { name, accuracies, corrections: mean(all.map(({ corrections }) => corrections)), runs: all }
  })
  console.log('\nVariance correction: mean accuracy of the local models after so many rounds of 20 local steps.\n')
  console.log(
    markdown(
      ['', ...evaluate.map((round) => `${round} rounds`), 'tensors corrected'],
      rows.map((row) => [row.name, ...row.accuracies.map(share), row.corrections.toFixed(0)]),
    ),
  )
  return rows
}

const started = performance.now()
const results = { merging: merging(), variance: variance() }
const seconds = Math.round((performance.now() - started) / 1000)
console.log(`\nSeeds ${seeds.join(', ')}; ${seconds} s.`)
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ seeds, seconds, ...results }, null, 1)}\n`)
