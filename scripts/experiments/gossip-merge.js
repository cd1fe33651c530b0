/** One merge of all models after sparse gossip (arXiv 2507.06542): how good is the mean of models that hardly met? */
import { mixing } from '../../dist/protocols/index.js'
import { everybody, randomPairs, trainInRounds } from '../../dist/simulator/testing/gossip-rounds.js'
import { linePlot } from './plot.js'
import { mixes } from './rounds.js'
import { markdown, mean, share } from './table.js'

const PEERS = 16
const SHARES = { 'one round in 50': 0.02, 'one in 10': 0.1, 'one in 5': 0.2, 'every round': 1 }
const PAIRS = Object.keys(SHARES).map((often) => `pairs, ${often}`)
/** How often peers meet. */
const MEETINGS = ['never', 'never, different starts', ...PAIRS, 'all with all, every round']

/** Whom a peer meets, by name. */
function topologyOf(meeting, seed) {
  if (meeting.startsWith('never')) return () => []
  if (meeting.startsWith('all')) return everybody(PEERS)
  return randomPairs(PEERS, SHARES[meeting.replace('pairs, ', '')], seed)
}

export const experiment = {
  name: 'gossip-merge',
  title: 'Gossip: one merge at the end',
  paper:
    'arXiv 2507.06542 (32 nodes, Dirichlet 0.1, expected 0.2 neighbours a round): local models are poor, the mean of all is far better and approaches training on one server; its first version said that one merge matches it. It does ' +
    'not help models from different starts.',
  setting:
    'Sixteen peers, a 32-64-10 network on ten classes of Gaussian clusters, Dirichlet 0.1, 80 rounds of 15 local steps (rate 0.05). Accuracies on common validation data; means over the seeds.',

  jobs: ({ reduced }) =>
    (reduced ? [1] : [1, 2]).flatMap((seed) =>
      (reduced ? ['never', 'pairs, one in 5'] : MEETINGS).map((meeting) => ({
        meeting,
        seed,
        rounds: reduced ? 10 : 80,
      })),
    ),

  run({ meeting, seed, rounds }) {
    const { standings } = trainInRounds({
      ...{
        seed,
        rounds,
        honest: PEERS,
        widths: [32, 64, 10],
        alpha: 0.1,
        localSteps: 15,
        batch: 32,
        learningRate: 0.05,
      },
      start: meeting.endsWith('different starts') ? 'different' : 'same',
      topology: topologyOf(meeting, seed),
      mixer: mixes(() => ({ rule: mixing.mean })),
    })
    const last = standings.at(-1)
    return { local: last.accuracy, merged: last.merged.accuracy, consensusError: last.consensusError }
  },

  report(runs, { reduced }) {
    const meetings = [...new Set(runs.map(({ job }) => job.meeting))]
    const of = (meeting, key) =>
      mean(runs.filter(({ job }) => job.meeting === meeting).map(({ result }) => result[key]))
    const gain = (meeting) => of(meeting, 'merged') - of(meeting, 'local')
    const table = markdown(
      ['peers meet', 'mean of the local models', 'merged model', 'gain', 'consensus error'],
      meetings.map((meeting) => [
        meeting,
        ...[of(meeting, 'local'), of(meeting, 'merged'), gain(meeting), of(meeting, 'consensusError')].map(share),
      ]),
    )
    const sparse = 'pairs, one in 5'
    const claims = [
      {
        claim: 'the merge of models that meet seldom is far better than they are',
        ours: `${share(of(sparse, 'local'))} → ${share(of(sparse, 'merged'))}`,
        holds: gain(sparse) > 0.1,
        asserted: true,
      },
    ]
    if (!reduced) {
      const all = 'all with all, every round'
      claims.push(
        {
          claim: 'one merge reaches what averaging with all in every round does (the paper’s first version)',
          ours: `${share(of(sparse, 'merged'))} against ${share(of(all, 'merged'))}`,
          holds: of(sparse, 'merged') > of(all, 'merged') - 0.02,
        },
        {
          claim: 'models from different starts do not merge',
          ours: `${share(of('never, different starts', 'local'))} → ${share(of('never, different starts', 'merged'))}`,
          holds: gain('never, different starts') < 0,
          asserted: true,
        },
        {
          claim: 'a little communication is enough for most of the gain',
          ours: PAIRS.map((meeting) => share(of(meeting, 'merged'))).join(', '),
          holds: of('pairs, one in 10', 'merged') > of('never', 'merged') + 0.1,
          asserted: true,
        },
      )
    }
    const plots = {
      '': linePlot({
        title: 'One merge of all at the end',
        x: 'rounds in which a pair meets, %',
        y: 'accuracy',
        series: ['local', 'merged'].map((name) => ({
          name: name === 'local' ? 'local models' : 'merged model',
          points: ['never', ...PAIRS]
            .filter((meeting) => meetings.includes(meeting))
            .map((meeting) => [100 * (SHARES[meeting.replace('pairs, ', '')] ?? 0), of(meeting, name)]),
        })),
      }),
    }
    return { text: table, plots, claims }
  },
}
