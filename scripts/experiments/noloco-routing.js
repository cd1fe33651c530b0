/** Does sending microbatches through random replicas of the next stage alone, without any exchange of parameters, keep replicas of a pipeline together (NoLoCo, section on routing)? */
import { loadKernels, SharedVectors } from '../../dist/kernels/index.js'
import { cutModel, dataSchema, openDataset, openEngine, StageTrainer, stageVectors } from '../../dist/models/index.js'
import { seededRandom, shuffled } from '../../dist/protocols/index.js'
import { linePlot } from './plot.js'
import { markdown, mean, of, text } from './table.js'

const REPLICAS = 4
const STAGES = 2
const MICROBATCHES = 4
const SHAPE = { architecture: 'decoder', context: 32, layers: 4, width: 32, heads: 2, hidden: 80 }

/** By name: whether microbatches go to a random replica of the second stage, and whether the head lies there or with the data. */
const ARMS = {
  fixed: {},
  random: { random: true, head: 'stage' },
  'random, the head with the data': { random: true, head: 'data' },
}

/** A pipeline for each replica, all from one start and over the same data, of which each takes other batches. Places 0 and 1 hold its stages. */
async function openPipelines({ seed, steps, rows }) {
  const engine = await openEngine({ threads: 1 })
  const data = dataSchema.parse({ source: 'stories', shard: { rule: 'same' } })
  const optimizer = { name: 'adamw', learningRate: 2e-3, beta2: 0.999, weightDecay: 0 }
  const training = { batch: MICROBATCHES * rows, steps, warmup: 0, finalRate: 1, optimizer }
  return Promise.all(
    Array.from({ length: REPLICAS }, async (_, index) => {
      const shard = { index, count: REPLICAS }
      const dataset = await openDataset({ data, context: SHAPE.context, seed, shard })
      const model = { ...SHAPE, vocabulary: dataset.classes }
      const options = { stages: STAGES, places: STAGES, microbatches: MICROBATCHES, accumulators: 1 }
      const cut = cutModel(model, options, training.batch)
      const vectors = SharedVectors.create(stageVectors(training, cut))
      const kernels = loadKernels(vectors)
      const trainer = new StageTrainer({ engine, kernels, vectors, model, training, cut, dataset, seed })
      trainer.initial(0, 'ends')
      for (let stage = 1; stage <= STAGES; stage++) trainer.initial(stage, stage - 1)
      return { trainer, stream: vectors.float32('stream'), theta: vectors.float32('theta') }
    }),
  )
}

/**
 * One microbatch of `own`, its second stage being that of `other` (which may be itself), its head that of `last`; gradients are added up where the parameters are.
 */
function microbatch({ own, other, last }, source) {
  const rows = own.trainer.embed(source, 0)
  own.trainer.forward(0, rows, 1)
  other.stream.set(own.stream)
  other.trainer.forward(1, rows, 2)
  last.stream.set(other.stream)
  last.trainer.loss(source, 0)
  other.stream.set(last.stream)
  other.trainer.backward(2, 0)
  own.stream.set(other.stream)
  own.trainer.backward(1, 0)
  own.trainer.backward(0, 0)
}

/** Standard deviation of the parameters over the replicas, root mean square. */
function disagreement(pipelines) {
  const count = pipelines[0].theta.length
  let squares = 0
  for (let k = 0; k < count; k++) {
    const center = mean(pipelines.map(({ theta }) => theta[k]))
    for (const { theta } of pipelines) squares += (theta[k] - center) ** 2
  }
  return Math.sqrt(squares / ((REPLICAS - 1) * count))
}

/** Mean validation loss, each replica straight through its own stages. */
function evaluate(pipelines) {
  return mean(
    pipelines.map(({ trainer }) => {
      let [total, samples] = [0, 0]
      for (let part = 0; part < trainer.validationParts(); part++) {
        const source = { kind: 'validation', part }
        const rows = trainer.embed(source)
        for (let place = 0; place < STAGES; place++) trainer.forward(place, rows)
        const outcome = trainer.loss(source)
        total += outcome.loss
        samples += outcome.samples
      }
      return total / samples
    }),
  )
}

export const experiment = {
  name: 'noloco-routing',
  title: 'NoLoCo: random routing alone',
  paper:
    'arXiv 2506.10911: with routing alone, no outer step at all, the replicas’ standard deviation is about 0.85 (125 million parameters, 4 replicas) and 0.90 (1.3 billion, 8) of that with fixed routing, for a validation loss ' +
    'up to 4 % higher.',
  setting:
    'Two stages of two layers of width 32, 4 replicas, 4 microbatches of one sequence (as in the paper’s code), or four, of 32 bytes each a step, Adam at a constant 2e-3, no exchange of parameters, 600 steps. A permutation is drawn for every microbatch between the ' +
    'stages. In the paper the head belongs to the last stage; in the product it stays with the data.',

  jobs({ reduced }) {
    const job = (routing, rows) => ({ routing, rows, seed: 0, steps: reduced ? 12 : 600 })
    const one = ['fixed', 'random'].map((routing) => job(routing, 1))
    if (reduced) return one
    return [...one, job('random, the head with the data', 1), job('fixed', 4), job('random', 4)]
  },

  async run({ routing, rows, seed, steps }, { log }) {
    const pipelines = await openPipelines({ seed, steps, rows })
    const random = seededRandom('routing', seed)
    const indices = pipelines.map((_, i) => i)
    const curve = []
    for (let step = 1; step <= steps; step++) {
      for (let m = 0; m < MICROBATCHES; m++) {
        const to = ARMS[routing].random ? shuffled(indices, random) : indices
        for (const i of indices) {
          const [own, other] = [pipelines[i], pipelines[to[i]]]
          const last = ARMS[routing].head === 'stage' ? other : own
          microbatch({ own, other, last }, { kind: 'training', batch: REPLICAS * (step - 1) + i, microbatch: m })
        }
      }
      for (const { trainer } of pipelines) {
        for (const place of ['ends', 0, 1]) trainer.step(place, 0, { step, applied: step, rate: 1 })
      }
      if (step % (steps / (steps < 100 ? 2 : 6)) === 0) {
        curve.push([step, disagreement(pipelines), evaluate(pipelines)])
        log(`step ${step}`)
      }
    }
    for (const { trainer } of pipelines) trainer.dispose()
    return curve
  },

  report(runs, { reduced }) {
    const run = (routing, rows) => runs.find(({ job }) => job.routing === routing && job.rows === rows).result
    /** What random routing gives over what fixed routing gives, step by step; 1: deviation, 2: loss. */
    const over = (key, rows, routing = 'random') =>
      run('fixed', rows).map((at, i) => [at[0], run(routing, rows)[i][key] / at[key]])
    const ROWS = reduced ? [1] : [1, 4]
    const steps = run('fixed', 1).map(([step]) => `step ${step}`)
    const row = (name, list) => [name, ...list.map(([, ratio]) => text(ratio))]
    const sequences = (rows) => `${rows} sequence${rows === 1 ? '' : 's'} a microbatch`
    const table = markdown(
      ['random over fixed routing', ...steps],
      [
        ...ROWS.flatMap((rows) => [
          row(`deviation, ${sequences(rows)}`, over(1, rows)),
          row(`validation loss, ${sequences(rows)}`, over(2, rows)),
        ]),
        ...(reduced ? [] : [row('deviation, the head with the data', over(1, 1, 'random, the head with the data'))]),
      ],
    )
    const [deviations, losses] = [1, 2].map((key) => ROWS.map((rows) => over(key, rows)))
    const last = (list) => list.at(-1)[1]
    const claims = reduced
      ? [
          {
            claim: 'what routing does at first is small: losses differ by less than 3 %',
            ours: text(last(losses[0])),
            holds: Math.abs(last(losses[0]) - 1) < 0.03,
            asserted: true,
          },
        ]
      : [
          ...ROWS.map((rows, i) => ({
            claim: `${sequences(rows)}: routing brings replicas together, the ratio is 0.85 to 0.9 in the end`,
            ours: text(last(deviations[i])),
            holds: last(deviations[i]) < 0.95,
          })),
          {
            claim: 'the longer, the more: the ratio is lower in the end than after a third of the steps',
            ours: of(deviations.map((list) => `${text(list[1][1])} → ${text(last(list))}`)),
            holds: deviations.every((list) => last(list) < list[1][1]),
          },
          {
            claim: 'it costs up to 4 % of validation loss',
            ours: of(losses.map((list) => `${text(100 * (last(list) - 1), 1)} %`)),
            holds: losses.every((list) => last(list) < 1.045),
          },
        ]
    const plots = {
      '': linePlot({
        title: 'Deviation of the replicas, random over fixed routing',
        x: 'steps',
        y: 'ratio',
        series: ROWS.map((rows, i) => ({ name: sequences(rows), points: deviations[i] })),
      }),
    }
    return { text: table, plots, claims }
  },
}
