/** A small model cut into stages, all of them in this process: what the experiments checkfree and skippipe-omission train. */
import { loadKernels, SharedVectors } from '../../dist/kernels/index.js'
import { cutModel, dataSchema, openDataset, openEngine, StageTrainer, stageVectors } from '../../dist/models/index.js'
import { seededRandom } from '../../dist/protocols/index.js'

/** A decoder with one layer per stage, 64 tokens of context. */
const SHAPE = { architecture: 'decoder', context: 64, width: 48, heads: 4, hidden: 128 }

/**
 * Adam at a constant 1e-3, without decay, gradients clipped per stage to 1: the paper's settings (section 5.1) on the embedded stories. The seed is that of the start and of
 * the batches' order.
 */
export async function stagesInOneProcess({ seed, stages, microbatches, rows = 8, steps, shape = SHAPE }) {
  const engine = await openEngine({ threads: 1 })
  const data = dataSchema.parse({ source: 'stories' })
  const dataset = await openDataset({ data, context: shape.context, seed, shard: { index: 0, count: 1 } })
  const model = { ...shape, layers: stages, vocabulary: dataset.classes }
  const optimizer = { name: 'adamw', learningRate: 1e-3, beta2: 0.999, weightDecay: 0 }
  const training = { batch: microbatches * rows, steps, warmup: 0, finalRate: 1, optimizer }
  const cut = cutModel(model, { stages, places: stages, microbatches, accumulators: 1 }, training.batch)
  const length = cut.sizes[1]
  const vectors = SharedVectors.create({
    ...stageVectors(training, cut),
    start: { type: 'float32', length: stages * length },
    scratch: { type: 'float32', length },
  })
  const kernels = loadKernels(vectors)
  const trainer = new StageTrainer({ engine, kernels, vectors, model, training, cut, dataset, seed })
  trainer.initial(0, 'ends')
  for (let stage = 1; stage <= stages; stage++) trainer.initial(stage, stage - 1)
  const starts = vectors.float32('start')
  starts.set(vectors.float32('theta').subarray(cut.sizes[0]))
  const wide = wideStarts(seed, stages, length, trainer)
  const placeOf = (part) => (part === 0 ? 'ends' : part - 1)

  return {
    kernels,
    /** As long as a stage, in the memory of the kernels. */
    scratch: vectors.float32('scratch'),
    /** Parameters of a stage, and those it began with. */
    part: (stage) => trainer.parameters(stage - 1).theta,
    start: (stage) => starts.subarray((stage - 1) * length, stage * length),
    /** What a stage begins with where matrices start as PyTorch's linear layers do. */
    wideStart: (stage) => wide.subarray((stage - 1) * length, stage * length),
    /** Sums the gradients of one step; `orders`: the stages in the order in which each microbatch goes through them. Returns the mean loss. */
    train(batch, orders) {
      let total = 0
      let samples = 0
      for (const [microbatch, order] of orders.entries()) {
        const source = { kind: 'training', batch, microbatch }
        const embedded = trainer.embed(source, 0)
        for (const stage of order) trainer.forward(stage - 1, embedded, stage)
        const outcome = trainer.loss(source, 0)
        for (const slot of [0, ...order].toReversed()) trainer.backward(slot, 0)
        total += outcome.loss
        samples += outcome.samples
      }
      return total / samples
    },
    /** One optimizer step of a part (0: the ends); returns its gradient's norm before clipping. */
    apply: (part, options) => trainer.step(placeOf(part), 0, options).gradientNorm,
    /** Moments of a stage <- 0. */
    refresh: (stage) => trainer.hold(stage - 1, stage, true),
    /** Mean loss over the validation data, through those stages in that order. */
    evaluate(order = Array.from({ length: stages }, (_, i) => i + 1)) {
      let total = 0
      let samples = 0
      for (let part = 0; part < trainer.validationParts(); part++) {
        const source = { kind: 'validation', part }
        const embedded = trainer.embed(source)
        for (const stage of order) trainer.forward(stage - 1, embedded)
        const outcome = trainer.loss(source)
        total += outcome.loss
        samples += outcome.samples
      }
      return total / samples
    },
    dispose: () => trainer.dispose(),
  }
}

/** Stages whose matrices are uniform in ±1/√inputs (torch.nn.Linear), four to fourteen times as large as our start; norms are 1. */
function wideStarts(seed, stages, length, trainer) {
  const starts = new Float32Array(stages * length)
  const random = seededRandom('wide-start', seed)
  for (let stage = 0; stage < stages; stage++) {
    for (const { shape, offset, length: size } of trainer.parameters(stage).layout.tensors) {
      const values = starts.subarray(stage * length + offset, stage * length + offset + size)
      if (shape.length === 1) values.fill(1)
      else for (let i = 0; i < size; i++) values[i] = (2 * random.uniform() - 1) / Math.sqrt(shape[1])
    }
  }
  return starts
}
