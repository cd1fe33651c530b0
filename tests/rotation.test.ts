/** The function-preserving attack on a real decoder: as accurate as an honest model, and poison to an average. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadKernels, SharedVectors } from '../kernels/index.ts'
import {
  type Batch,
  createTrainer,
  type DecoderConfig,
  initialize,
  layoutOf,
  openEngine,
  type TrainingConfig,
  trainerVectors,
} from '../models/index.ts'
import { attacks, mixing, seededRandom } from '../protocols/index.ts'

const model: DecoderConfig = {
  architecture: 'decoder',
  vocabulary: 16,
  context: 8,
  layers: 2,
  width: 16,
  heads: 4,
  keyValueHeads: 2,
  hidden: 24,
}
const training: TrainingConfig = { batch: 4, steps: 150, optimizer: { name: 'adamw', learningRate: 0.01 } }

/** Text without rules, to be learned by heart: the same token is followed by others, so attention and the hidden units are needed. */
const random = seededRandom('text')
const tokens = (): Int32Array => Int32Array.from({ length: 32 }, () => random.integer(16))
const batch: Batch = { kind: 'text', rows: 4, context: 8, inputs: tokens(), targets: tokens() }

test('a decoder whose heads and hidden units are exchanged and scaled computes the same, and its average with the honest one does not', async () => {
  const layout = layoutOf(model)
  const theta = { type: 'float32' as const, length: layout.length }
  const vectors = SharedVectors.create({
    ...trainerVectors(model, training),
    rotated: theta,
    pull: theta,
    difference: theta,
  })
  const kernels = loadKernels(vectors)
  initialize(layout, model, 1, vectors.float32('theta'))
  const dataset = { kind: 'text' as const, classes: 16, batch: () => batch, validation: () => [batch] }
  const engine = await openEngine()
  const trainer = createTrainer({ engine, kernels, vectors, model, training, dataset })
  try {
    const untrained = trainer.evaluate().loss
    for (let step = 0; step < training.steps; step++) {
      trainer.step()
    }
    const honest = trainer.evaluate().loss
    assert.ok(honest < untrained / 4)

    const rotated = vectors.float32('rotated')
    rotated.set(vectors.float32('theta'))
    const symmetries = attacks.decoderSymmetries(layout.tensors, 2)
    const attack = attacks.createAttack('rotation', { random: seededRandom('rotation'), symmetries })
    attack(rotated, { honest: [], before: rotated.slice(), peers: 2, faulty: 1 })
    assert.ok(Math.abs(trainer.evaluate('rotated').loss - honest) < 1e-4, 'no test of accuracy tells them apart')

    const messages = [{ peer: 'liar', values: rotated }]
    const scratch = { pull: vectors.float32('pull'), difference: vectors.float32('difference') }
    const mixed = mixing.mix(kernels, vectors.float32('theta'), messages, { rule: mixing.mean }, scratch)
    assert.deepEqual(mixed.refused, [], 'and neither do the guards')
    assert.ok(trainer.evaluate().loss > 10 * honest)
  } finally {
    trainer.dispose()
  }
})
