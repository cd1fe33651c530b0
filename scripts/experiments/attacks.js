#!/usr/bin/env node
/**
 * Which mixing rule survives which attack? Thirteen peers, three of them hostile and all-knowing, train a small network (32-64-10, ReLU) on ten
 * classes of Gaussian clusters, Dirichlet shards, one local step with momentum a round, all-to-all: the setting of MoNNA (arXiv 2209.10931).
 * Figures are mean accuracies of the honest peers on common validation data. Prints Markdown tables; `--out` keeps all figures as JSON.
 *
 * The table `six` is of another setting, that of scripts/experiments/gossip-attacks.js without processes: six peers, liars that know themselves alone, losses.
 *
 *   npm run build && node scripts/experiments/attacks.js [--seeds 1,2,3] [--steps 400] [--tables rules,momentum,skew,number,six]
 *     [--rules 'nearest,nearest of recent'] [--out FILE]
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { attacks, mixing, seededRandom } from '../../dist/protocols/index.js'
import { everybody, mlpSymmetries, randomPulls, trainInRounds } from '../../dist/simulator/testing/gossip-rounds.js'
import { attackBy, mixes } from './rounds.js'
import { markdown, mean, share } from './table.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    steps: { type: 'string', default: '400' },
    tables: { type: 'string', default: 'rules,momentum,skew,number' },
    rules: { type: 'string' },
    out: { type: 'string' },
  },
})
const seeds = values.seeds.split(',').map(Number)
const PEERS = 13

/** Options of the rounds for each row, given how many liars the rule is told to expect. */
const rules = {
  'mean without guards': () => ({ mixer: mixes(() => ({ rule: mixing.mean, guards: mixing.NO_GUARDS })) }),
  mean: () => ({ mixer: mixes(() => ({ rule: mixing.mean })) }),
  clipped: (faulty) => ({ mixer: mixes(() => ({ rule: mixing.clipped({ faulty }) })) }),
  nearest: (faulty) => ({ mixer: mixes(() => ({ rule: mixing.nearest(faulty) })) }),
  'nearest of recent': (faulty) => ({
    mixer: mixes(() => ({ rule: mixing.nearestOfRecent(new mixing.RecentDistances(), faulty / (PEERS - 1)) })),
  }),
  'nearest of 8 pulled': (faulty, seed) => ({
    topology: randomPulls(PEERS, 8, seed),
    mixer: mixes(() => ({
      rule: mixing.nearest(mixing.faultyAmong(8, { peers: PEERS - 1, faulty, risk: 0.05 })),
    })),
  }),
  'nearest in 4 fragments': (faulty) => ({ fragments: 4, mixer: mixes(() => ({ rule: mixing.nearest(faulty) })) }),
}

/** Mean over the seeds for one cell; `faulty` liars, of which the rule expects `expected`. */
function cell(rule, attack, { faulty = 3, expected = faulty, ...more } = {}) {
  const runs = seeds.map((seed) => {
    const result = trainInRounds({
      seed,
      honest: PEERS - faulty,
      faulty,
      widths: [32, 64, 10],
      alpha: 1,
      rounds: Number(values.steps),
      localSteps: 1,
      batch: 32,
      learningRate: 0.15,
      momentum: 0.9,
      topology: everybody(PEERS),
      ...rules[rule](expected, seed),
      ...more,
      ...(attack === 'none'
        ? {}
        : {
            attack: attackBy(attack, seed),
          }),
    })
    const standing = result.standings.at(-1)
    return {
      seed,
      accuracy: standing?.accuracy ?? Number.NaN,
      worst: Math.min(...(standing?.locals ?? []).map(({ accuracy }) => accuracy)),
      refused: result.refused,
      diverged: result.diverged,
    }
  })
  const accuracy = mean(runs.map((run) => run.accuracy))
  console.error(`${rule}; ${attack}; ${JSON.stringify({ faulty, ...more })}: ${share(accuracy)}`)
  return { rule, attack, faulty, expected, ...more, accuracy, runs }
}

const text = ({ accuracy, runs }) =>
  runs.some(({ diverged }) => diverged !== undefined) ? 'diverged' : share(accuracy)

/** A table of rules by columns, each column being an attack and what is different for it. */
function table(title, names, columns, head = (column) => column.attack) {
  const cells = names.map((rule) => columns.map((column) => cell(rule, column.attack, column.more)))
  console.log(`\n${title}\n`)
  console.log(
    markdown(
      ['rule', ...columns.map(head)],
      names.map((rule, i) => [rule, ...cells[i].map(text)]),
    ),
  )
  return { title, cells: cells.flat() }
}

const all = ['none', 'sign-flip', 'inner-product', 'inner-product:10', 'alie', 'alie:1.5', 'noise', 'nan', 'huge-norm']
  .concat('stale-replay', 'rotation', 'free-rider')
  .map((attack) => ({ attack }))
const few = ['none', 'alie:1.5', 'noise', 'stale-replay']

const makers = {
  six,
  rules: () =>
    table('Three of thirteen are hostile, worker momentum 0.9.', values.rules?.split(',') ?? Object.keys(rules), all),
  momentum: () =>
    table(
      'The same without worker momentum.',
      ['mean', 'nearest'],
      few.map((attack) => ({ attack, more: { momentum: 0 } })),
    ),
  skew: () =>
    table(
      'The same with strongly skewed data (Dirichlet 0.1).',
      ['mean', 'nearest'],
      few.map((attack) => ({ attack, more: { alpha: 0.1 } })),
    ),
  number: () =>
    table(
      'How many liars: each rule is told the true number, except in the last column, where five lie and it expects three.',
      ['clipped', 'nearest'],
      ['noise', 'stale-replay'].flatMap((attack) =>
        [[1], [3], [5], [5, 3]].map(([faulty, expected]) => ({
          attack,
          more: { faulty, expected: expected ?? faulty },
        })),
      ),
      ({ attack, more }) =>
        `${attack} ${more.faulty}${more.expected === more.faulty ? '' : ` (expects ${more.expected})`}`,
    ),
}

/** One and two of six, who know no more than a real peer: their own model, now and a turn ago. 120 turns of five steps, a quarter of the model each. */
function six() {
  const strengths = [
    'alie:1.5',
    'alie:5',
    'alie:20',
    'alie:60',
    'inner-product',
    'inner-product:10',
    'inner-product:30',
  ].concat('inner-product:100', 'stale-replay', 'rotation', 'free-rider', 'noise')
  const count = 6
  const rules = {
    'plain mean': { rule: mixing.mean, guards: mixing.NO_GUARDS },
    'nearest, f = 1': { rule: mixing.nearest(1) },
    'nearest, f = 2': { rule: mixing.nearest(2) },
  }
  const lying = (attack, seed) => (model) => {
    const lie = attacks.createAttack(attack, {
      random: seededRandom('attack', seed, 0),
      symmetries: mlpSymmetries(model),
    })
    let last
    return (message, knowledge) => {
      const own = message.slice()
      const before = last ?? own
      last = own
      lie(message, { ...knowledge, honest: [own, before], before })
    }
  }
  const lossOf = (rule, attack, faulty) => {
    const losses = seeds.map((seed) => {
      const { standings } = trainInRounds({
        seed,
        honest: count - faulty,
        faulty,
        widths: [32, 64, 10],
        alpha: 1,
        samples: 4_000,
        validation: 1_500,
        rounds: 120,
        localSteps: 5,
        fragments: 4,
        batch: 16,
        learningRate: 0.05,
        momentum: 0.9,
        topology: everybody(count),
        mixer: mixes(() => rules[rule]),
        ...(faulty === 0 ? {} : { attack: lying(attack, seed) }),
      })
      return mean((standings.at(-1)?.locals ?? []).map(({ loss }) => loss))
    })
    console.error(`${rule}; ${attack}; ${faulty}: ${losses.map((loss) => loss.toFixed(3)).join(' ')}`)
    return { rule, attack, faulty, losses, loss: mean(losses) }
  }
  const rows = [['none', 0], ...strengths.flatMap((attack) => [1, 2].map((faulty) => [attack, faulty]))]
  const cells = rows.map(([attack, faulty]) => Object.keys(rules).map((rule) => lossOf(rule, attack, faulty)))
  const number = ({ loss }) =>
    loss < 100 ? loss.toFixed(3) : Number.isFinite(loss) ? loss.toExponential(0) : 'diverged'
  const title = 'Six peers, liars that know themselves alone: mean loss of the honest.'
  console.log(`\n${title}\n`)
  console.log(
    markdown(
      ['attack', 'liars', ...Object.keys(rules)],
      rows.map(([attack, faulty], i) => [attack, String(faulty), ...cells[i].map(number)]),
    ),
  )
  return { title, cells: cells.flat() }
}

/** Ends with what is allowed when an option names something that there is not. */
function known(option, names, allowed) {
  const unknown = names.find((name) => !Object.hasOwn(allowed, name))
  if (unknown === undefined) return names
  console.error(`${option}: '${unknown}' is none of ${Object.keys(allowed).join(', ')}`)
  process.exit(2)
}

known('rules', values.rules?.split(',') ?? [], rules)
const chosen = known('tables', values.tables.split(','), makers)
const started = performance.now()
const tables = chosen.map((name) => makers[name]())
const seconds = Math.round((performance.now() - started) / 1000)
console.log(`\nSeeds ${seeds.join(', ')}; ${values.steps} steps; ${seconds} s.`)
if (values.out !== undefined)
  writeFileSync(values.out, `${JSON.stringify({ seeds, steps: Number(values.steps), seconds, tables }, null, 1)}\n`)
