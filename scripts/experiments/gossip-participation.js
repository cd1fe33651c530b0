/** Peers that come often decide what is learned, and interval weights (FedAU, arXiv 2306.03401) take that away. Quadratics, no tensors. */
import { mixing, seededRandom } from '../../dist/protocols/index.js'
import { linePlot } from './plot.js'
import { markdown, mean, of, text } from './table.js'

const PEERS = 20
/** Of each peer: where its loss is smallest, and how likely it takes part in a round. Who comes often pulls to the large ones. */
const peers = Array.from({ length: PEERS }, (_, i) => ({
  name: `p${i}`,
  target: i,
  chance: 0.03 + (0.87 * i) / (PEERS - 1),
}))
const FAIR = mean(peers.map(({ target }) => target))
/** Share of the way to a peer's target that its local steps go, and of the mean move that is taken. */
const LOCAL = 0.5
const STEP = 0.2

/** By name: a new weighing; its argument are those who take part, its result a weight for each. */
const ARMS = {
  none: () => (present) => present.map(() => 1),
  'discount of the late': () => {
    const weights = new mixing.IntervalWeights({ cutoff: 100_000 })
    return (present, round) => present.map(({ name }) => 1 / Math.sqrt(weights.contribute(name, round)))
  },
  'interval weights, cutoff 50': () => weighing({ cutoff: 50 }),
  'no cutoff': () => weighing({ cutoff: 100_000 }),
  'cutoff 10': () => weighing({ cutoff: 10 }),
  'cutoff 50, capped at 4 medians': () => {
    const weigh = weighing({ cutoff: 50 })
    return (present, round) => mixing.capped(weigh(present, round))
  },
  'known probabilities': () => (present) => present.map(({ chance }) => 1 / chance),
  'cutoff 50, divided as in gossip': () => weighing({ cutoff: 50 }),
  'known probabilities, divided as in gossip': () => (present) => present.map(({ chance }) => 1 / chance),
}

function weighing(options) {
  const weights = new mixing.IntervalWeights(options)
  return (present, round) => present.map(({ name }) => weights.contribute(name, round))
}

export const experiment = {
  name: 'gossip-participation',
  title: 'Gossip: who comes seldom',
  paper:
    'arXiv 2306.03401 (FedAU): averaging those who take part is biased to those who do often; weights by the mean interval between contributions remove the bias without knowing the probabilities, a cutoff of 50 hardly matters. ' +
    'Discounting late contributions makes it worse.',
  setting:
    'Twenty peers with quadratic losses whose minima are 0, 1, ... 19 and which take part with probabilities from 0.03 to 0.9; each goes half of the way to its minimum, the model a fifth of the weighted sum of these moves ' +
    'divided by the number of all peers, as in FedAU; last, divided by the weights of those who came, as in gossip, which does not know the number of all. Where the model stays, less 9.5, the fair point: mean over the last half of the rounds.',

  jobs: ({ reduced }) =>
    (reduced ? [1] : [1, 2, 3]).flatMap((seed) =>
      Object.keys(ARMS).map((arm) => ({ arm, seed, rounds: reduced ? 2_000 : 20_000 })),
    ),

  run({ arm, seed, rounds }) {
    const weigh = ARMS[arm]()
    const random = seededRandom('participation', seed)
    let [model, sum, count, window] = [FAIR, 0, 0, 0]
    const curve = []
    const long = rounds / 40
    for (let round = 1; round <= rounds; round++) {
      const present = peers.filter(({ chance }) => random.uniform() < chance)
      if (present.length > 0) {
        const weights = weigh(present, round)
        const came = weights.reduce((all, weight) => all + weight, 0)
        const total = arm.endsWith('gossip') ? came : PEERS
        const move = present.reduce((all, { target }, i) => all + weights[i] * LOCAL * (target - model), 0) / total
        model += STEP * move
      }
      if (round > rounds / 2) {
        sum += model - FAIR
        count++
      }
      window += (model - FAIR) / long
      if (round % long === 0) {
        curve.push([round, window])
        window = 0
      }
    }
    return { bias: sum / count, curve }
  },

  report(runs, { reduced }) {
    const arms = Object.keys(ARMS)
    const biases = (arm) => runs.filter(({ job }) => job.arm === arm).map(({ result }) => result.bias)
    const bias = (arm) => Math.abs(mean(biases(arm)))
    const table = markdown(
      ['weights', 'bias, seed by seed'],
      arms.map((arm) => [arm, of(biases(arm).map((value) => text(value, 2)))]),
    )
    const cured = 'interval weights, cutoff 50'
    const claims = [
      {
        claim: 'without weights the model is where the frequent peers are',
        ours: text(bias('none'), 2),
        holds: bias('none') > 2,
        asserted: true,
      },
      {
        claim: 'interval weights remove most of the bias',
        ours: `${text(bias(cured), 2)} of ${text(bias('none'), 2)}`,
        holds: bias(cured) < 0.25 * bias('none'),
        asserted: true,
      },
      {
        claim: 'to discount the late makes it worse',
        ours: text(bias('discount of the late'), 2),
        holds: bias('discount of the late') > bias('none'),
        asserted: true,
      },
    ]
    if (!reduced)
      claims.push(
        {
          claim: 'divided by the weights of those who came, as in gossip, interval weights remove the bias as well',
          ours: `${text(bias('cutoff 50, divided as in gossip'), 2)} is left, with known probabilities ${text(bias('known probabilities, divided as in gossip'), 2)}: a round in which a large weight speaks is divided by that weight`,
          holds: bias('cutoff 50, divided as in gossip') < 0.1 * bias('none'),
        },
        {
          claim: 'a cutoff of 50 rounds hardly matters, one of 10 does',
          ours: `${text(bias('no cutoff'), 2)}, ${text(bias(cured), 2)}, ${text(bias('cutoff 10'), 2)}`,
          holds: bias(cured) < bias('no cutoff') + 0.3 && bias('cutoff 10') > 2 * bias(cured),
        },
        {
          claim: 'the bound on a weight that robustness asks for costs some fairness (ours)',
          ours: text(bias('cutoff 50, capped at 4 medians'), 2),
          holds: bias('cutoff 50, capped at 4 medians') < 0.5 * bias('none'),
          asserted: true,
        },
      )
    const [{ job }] = runs
    const plots = {
      '': linePlot({
        title: 'How far the model is from the fair point, means of a fortieth of the rounds',
        x: 'rounds',
        y: 'bias',
        series: arms.map((name) => ({
          name,
          points: runs.find((run) => run.job.arm === name && run.job.seed === job.seed).result.curve,
        })),
      }),
    }
    return { text: table, plots, claims }
  },
}
