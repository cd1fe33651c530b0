/** Replicas of one small decoder that train side by side in this process, for experiments about NoLoCo: no network and no clock, the rules alone. */
import { loadKernels, SharedVectors } from '../../dist/kernels/index.js'
import {
  createTrainer,
  dataSchema,
  initialize,
  layoutOf,
  openDataset,
  openEngine,
  trainerVectors,
} from '../../dist/models/index.js'
import { nolocoVectors } from '../../dist/protocols/noloco/tasks.js'

/** A decoder that a step of takes a few milliseconds; 0.04 million parameters, trained on the embedded stories. */
const SHAPE = { architecture: 'decoder', context: 32, layers: 2, width: 32, heads: 2, hidden: 80 }

/** Adam (0.9, 0.999) without decay, linear warm-up, cosine to a tenth, gradients clipped to 1: the paper's settings, with a rate for this size. */
const trainingOf = (batch, steps) => ({
  batch,
  steps,
  warmup: Math.min(50, Math.floor(steps / 8)),
  finalRate: 0.1,
  clip: 1,
  optimizer: { name: 'adamw', learningRate: 3e-3, beta2: 0.999, weightDecay: 0 },
})

/** Vectors of NoLoCo's tasks that belong to one replica; the others are scratch, which all share. */
const OF_A_REPLICA = ['phi', 'delta', 'outbox', 'inbox']

/**
 * `count` replicas from one start, each with an optimizer, slow weights and outer momentum of its own, and its own part of the stories; `rows` sequences in each of their
 * `steps` steps. `codec`: how messages travel, in arms that send any.
 */
export async function openReplicas({ seed, count, rows, steps, codec = 'float32' }) {
  const engine = await openEngine({ threads: 1 })
  const shard = count === 1 ? { rule: 'shuffled' } : { rule: 'disjoint', of: count }
  const data = dataSchema.parse({ source: 'stories', shard })
  const open = (index) => openDataset({ data, context: SHAPE.context, seed, shard: { index, count } })
  const datasets = await Promise.all(Array.from({ length: count }, (_, index) => open(index)))
  const model = { ...SHAPE, vocabulary: datasets[0].classes }
  const training = trainingOf(rows, steps)
  const { length } = layoutOf(model)
  const { gradient, ...own } = trainerVectors(model, training)
  const { snapshot: _, ...exchange } = nolocoVectors(length, { codec })
  for (const name of OF_A_REPLICA) own[name] = exchange[name]
  const scratch = Object.entries(exchange).filter(([name]) => !OF_A_REPLICA.includes(name))
  const vectors = SharedVectors.create({
    gradient,
    mean: { type: 'float32', length },
    ...Object.fromEntries(scratch),
    ...Object.fromEntries(
      datasets.flatMap((_, i) => Object.entries(own).map(([name, spec]) => [`${name} ${i}`, spec])),
    ),
  })
  const kernels = loadKernels(vectors)
  const replicas = datasets.map((dataset, i) => {
    const place = (name) => (Object.hasOwn(own, name) ? `${name} ${i}` : name)
    const float32 = (name) => vectors.float32(place(name))
    const trainer = createTrainer({ engine, kernels, vectors: { float32 }, model, training, dataset })
    // One start for all, as the paper assumes: its code draws one for each and averages them.
    initialize(trainer.layout, model, seed, float32('theta'))
    float32('phi').set(float32('theta'))
    const context = { kernels, float32, bytes: (name) => vectors.bytes(place(name)) }
    const [theta, phi, delta] = ['theta', 'phi', 'delta'].map(float32)
    return { name: `replica ${i}`, trainer, context, theta, phi, delta }
  })
  const mean = vectors.float32('mean')
  const { parameters } = replicas[0].trainer.layout

  return {
    kernels,
    replicas,
    parameters,
    /** Room for a vector as long as the model; {@link disagreement} writes to it. */
    mean,
    /** Standard deviation of the fast weights over the replicas, root mean square over the parameters. */
    disagreement() {
      if (count === 1) return 0
      mean.fill(0)
      for (const { theta } of replicas) kernels.axpy(mean, 1 / count, theta)
      const squares = replicas.reduce((sum, { theta }) => sum + kernels.squaredDistance(theta, mean), 0)
      return Math.sqrt(squares / ((count - 1) * parameters))
    },
    /** Mean validation loss of the replicas, from which the paper takes its perplexities. */
    evaluate: () => replicas.reduce((sum, { trainer }) => sum + trainer.evaluate().loss, 0) / count,
    dispose() {
      for (const { trainer } of replicas) trainer.dispose()
    },
  }
}
