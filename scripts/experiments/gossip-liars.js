/** What a growing share of liars does to gossip, by rule: the attacks of docs/robustness.md against thirteen peers. */
import { mixing } from '../../dist/protocols/index.js'
import { everybody, trainInRounds } from '../../dist/simulator/testing/gossip-rounds.js'
import { linePlot } from './plot.js'
import { attackBy, mixes } from './rounds.js'
import { markdown, mean, share } from './table.js'

const PEERS = 13
/** The rules, told how many lie. */
const RULES = {
  'mean without guards': () => ({ rule: mixing.mean, guards: mixing.NO_GUARDS }),
  clipped: (faulty) => ({ rule: mixing.clipped({ faulty }) }),
  nearest: (faulty) => ({ rule: mixing.nearest(faulty) }),
}
const ATTACKS = ['sign-flip', 'noise', 'stale-replay', 'inner-product:10', 'alie:1.5']
const LIARS = [1, 3, 5]
/** What diverged is as good as guessing one of ten classes. */
const CHANCE = 0.1

export const experiment = {
  name: 'gossip-liars',
  title: 'Gossip: the share of liars',
  paper:
    'arXiv 2209.10931 (MoNNA) and 2202.01545 (ClippedGossip): an average is ruined by one liar; with fewer than a third of them the nearest-neighbour average keeps the accuracy of training without, clipping bounds the harm.',
  setting:
    'Thirteen peers, all with all, one local step a round with worker momentum 0.9, a 32-64-10 network on Gaussian clusters, Dirichlet 1, 400 steps; liars know all honest models, and each rule is told how many there are. Mean ' +
    'accuracy of the honest, mean over the seeds.',

  jobs({ reduced }) {
    const job = (rule, attack, liars, seed) => ({ rule, attack, liars, seed, steps: reduced ? 60 : 400 })
    if (reduced) return ['mean without guards', 'nearest'].map((rule) => job(rule, 'noise', 3, 1))
    return [1, 2].flatMap((seed) =>
      Object.keys(RULES).flatMap((rule) => [
        job(rule, 'none', 0, seed),
        ...ATTACKS.flatMap((attack) => LIARS.map((liars) => job(rule, attack, liars, seed))),
      ]),
    )
  },

  run({ rule, attack, liars, seed, steps }) {
    const { standings } = trainInRounds({
      ...{ seed, honest: PEERS - liars, faulty: liars, widths: [32, 64, 10], alpha: 1, rounds: steps, localSteps: 1 },
      ...{ batch: 32, learningRate: 0.15, momentum: 0.9 },
      topology: everybody(PEERS),
      mixer: mixes(() => RULES[rule](liars)),
      ...(liars === 0 ? {} : { attack: attackBy(attack, seed) }),
    })
    return standings.at(-1)?.accuracy ?? null
  },

  report(runs, { reduced }) {
    const of = (rule, attack, liars) => {
      const found = runs.filter(({ job }) => job.rule === rule && job.attack === attack && job.liars === liars)
      return found.length === 0 ? Number.NaN : mean(found.map(({ result }) => result ?? CHANCE))
    }
    const diverged = (rule, attack, liars) =>
      runs.some(
        ({ job, result }) => job.rule === rule && job.attack === attack && job.liars === liars && result === null,
      )
    if (reduced) {
      const [plain, nearest] = ['mean without guards', 'nearest'].map((rule) => of(rule, 'noise', 3))
      const claims = [
        {
          claim: 'three of thirteen that send noise harm the average and not the nearest',
          ours: `${share(plain)}, ${share(nearest)}`,
          holds: nearest > plain + 0.1,
          asserted: true,
        },
      ]
      return { text: '', plots: {}, claims }
    }
    const rules = Object.keys(RULES)
    const cell = (...key) => (diverged(...key) ? 'diverged' : share(of(...key)))
    const table = markdown(
      ['rule', 'none', ...ATTACKS.flatMap((attack) => LIARS.map((liars) => `${attack}, ${liars}`))],
      rules.map((rule) => [
        rule,
        cell(rule, 'none', 0),
        ...ATTACKS.flatMap((attack) => LIARS.map((liars) => cell(rule, attack, liars))),
      ]),
    )
    const worst = (rule, liars) => Math.min(...ATTACKS.map((attack) => of(rule, attack, liars)))
    const peace = of('mean without guards', 'none', 0)
    const claims = [
      {
        claim: 'one liar of thirteen ruins the plain mean',
        ours: `${share(worst('mean without guards', 1))} at worst, ${share(peace)} in peace`,
        holds: worst('mean without guards', 1) < 0.5,
        asserted: true,
      },
      {
        claim: 'nearest keeps the accuracy with up to 23 % of liars',
        ours: `${share(worst('nearest', 1))} and ${share(worst('nearest', 3))} at worst`,
        holds: worst('nearest', 3) > peace - 0.05,
        asserted: true,
      },
      {
        claim: 'nearest keeps it with 38 % of liars (more than the paper promises)',
        ours: `${share(worst('nearest', 5))} at worst`,
        holds: worst('nearest', 5) > peace - 0.05,
      },
      {
        claim: 'clipping bounds the harm: with 23 % of liars at least half of the accuracy is left',
        ours: `${share(worst('clipped', 3))} at worst`,
        holds: worst('clipped', 3) > peace / 2,
      },
    ]
    const plots = {
      '': linePlot({
        title: 'Worst of the attacks by share of liars',
        x: 'liars, % of the peers',
        y: 'accuracy of the honest',
        series: rules.map((name) => ({
          name,
          points: [[0, of(name, 'none', 0)], ...LIARS.map((liars) => [(100 * liars) / PEERS, worst(name, liars)])],
        })),
      }),
    }
    return { text: table, plots, claims }
  },
}
