/**
 * Directions that the robust rules and the guards are there for, on a small network. Full tables: scripts/experiments.
 * The bounds are loose on purpose: what is asserted is who learns and who does not, never by how much.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { attacks, mixing, seededRandom } from '../protocols/index.ts'
import { gaussianClusters } from './learners/clusters.ts'
import { Mlp } from './learners/mlp.ts'
import {
  everybody,
  mlpSymmetries,
  type RoundsOptions,
  randomPairs,
  randomPulls,
  trainInRounds,
} from './testing/gossip-rounds.ts'

/** Of random guessing among ten classes. */
const CHANCE = 0.1

/** A mixer from options that are made anew for each peer, since a rule may remember. */
function mixes(make: (model: Mlp) => mixing.MixOptions): RoundsOptions['mixer'] {
  return (kernels, model) => {
    const options = make(model)
    return (own, messages, scratch) => mixing.mix(kernels, own, messages, options, scratch)
  }
}

const small = { seed: 1, samples: 3_000, validation: 1_000, batch: 16 } as const

/** Ten honest peers and three others, all-to-all, one local step with momentum a round: MoNNA's setting. Accuracy of the honest ones. */
function attacked(attack: string | undefined, mixer: RoundsOptions['mixer'], more: Partial<RoundsOptions> = {}) {
  const result = trainInRounds({
    ...small,
    honest: 10,
    faulty: 3,
    widths: [32, 32, 10],
    alpha: 1,
    rounds: 110,
    localSteps: 1,
    learningRate: 0.3,
    momentum: 0.9,
    topology: everybody(13),
    mixer,
    ...(attack === undefined
      ? {}
      : {
          attack: (model, peer) =>
            // The same symmetry for all three: they stand together.
            attacks.createAttack(attack, {
              random: seededRandom('attack', attack === 'rotation' ? 0 : peer),
              symmetries: mlpSymmetries(model),
            }),
        }),
    ...more,
  })
  return { ...result, accuracy: result.standings.at(-1)?.accuracy ?? 0 }
}

const bareMean = mixes(() => ({ rule: mixing.mean, guards: mixing.NO_GUARDS }))
const guardedMean = mixes(() => ({ rule: mixing.mean }))
const clipped = mixes(() => ({ rule: mixing.clipped({ faulty: 3 }) }))
const bareNearest = mixes(() => ({ rule: mixing.nearest(3), guards: mixing.NO_GUARDS }))
const nearest = mixes(() => ({ rule: mixing.nearest(3) }))

test('the gradient of the small network is that of its loss', () => {
  const { training } = gaussianClusters({ seed: 3, training: 50, validation: 1 })
  const model = new Mlp([32, 8, 6, 10])
  const theta = new Float32Array(model.size)
  const [gradient, ignored] = [new Float32Array(model.size), new Float32Array(model.size)]
  model.initialize(theta, 1)
  const batch = [...training.labels.keys()]
  model.gradient(theta, gradient, training, batch)
  for (const { offset, length } of model.tensors) {
    const at = offset + (length >> 1)
    const lossAt = (value: number): number => {
      const moved = theta.slice()
      moved[at] = value
      return model.gradient(moved, ignored, training, batch)
    }
    const slope = (lossAt(theta[at]! + 1e-3) - lossAt(theta[at]! - 1e-3)) / 2e-3
    assert.ok(Math.abs(slope - gradient[at]!) < 2e-3, `${slope} instead of ${gradient[at]}`)
  }
})

test('a rotated model computes the same and ruins an average', () => {
  const { validation } = gaussianClusters({ seed: 3, training: 1, validation: 300 })
  const model = new Mlp([32, 24, 16, 10])
  const theta = new Float32Array(model.size)
  model.initialize(theta, 1)
  const rotated = theta.slice()
  const modules = { random: seededRandom('rotation'), symmetries: mlpSymmetries(model) }
  attacks.createAttack('rotation', modules)(rotated, { honest: [], before: theta, peers: 2, faulty: 1 })
  const [honest, hostile] = [model.evaluate(theta, validation), model.evaluate(rotated, validation)]
  assert.ok(Math.abs(honest.loss - hostile.loss) < 1e-4)
  assert.equal(honest.accuracy, hostile.accuracy)
  assert.ok(rotated.reduce((sum, value, i) => sum + (value - theta[i]!) ** 2, 0) > 10)
})

test('three liars of thirteen: plain averaging fails, the nearest to the own model survive', () => {
  const calm = attacked(undefined, nearest).accuracy
  assert.ok(calm > 0.6, String(calm))
  for (const attack of ['sign-flip', 'noise', 'stale-replay', 'rotation']) {
    const plain = attacked(attack, bareMean).accuracy
    assert.ok(plain < calm - 0.2, `${attack}: the mean still reaches ${plain} of ${calm}`)
    const robust = attacked(attack, bareNearest)
    assert.ok(robust.accuracy > calm - 0.12, `${attack}: the nearest reach only ${robust.accuracy} of ${calm}`)
  }
})

test('an attack that hides costs little, whatever the rule', () => {
  for (const attack of ['alie', 'inner-product', 'free-rider']) {
    const { accuracy } = attacked(attack, nearest)
    assert.ok(accuracy > 0.5, `${attack}: ${accuracy}`)
  }
})

test('what is broken is stopped by the guards alone, and only liars are refused', () => {
  const calm = attacked(undefined, guardedMean)
  assert.deepEqual(calm.refused, { fromHonest: {}, fromFaulty: {} })
  const messages = 10 * 3 * 110
  for (const [attack, reason] of [
    ['nan', 'not-finite'],
    ['huge-norm', 'norm'],
    ['sign-flip', 'distance'],
  ] as const) {
    const { accuracy, refused } = attacked(attack, guardedMean)
    assert.deepEqual(refused, { fromHonest: {}, fromFaulty: { [reason]: messages } })
    assert.ok(accuracy > calm.accuracy - 0.12, `${attack}: ${accuracy} of ${calm.accuracy}`)
  }
  assert.ok(attacked('huge-norm', bareMean).diverged !== undefined)
})

test('clipping withstands one liar of thirteen, and not three that stand still together', () => {
  const one = { honest: 12, faulty: 1 }
  const calm = attacked(undefined, clipped).accuracy
  assert.ok(attacked('noise', clipped, one).accuracy > calm - 0.12)
  assert.ok(attacked('stale-replay', clipped).accuracy < calm - 0.2)
})

test('the rules work on a few pulled models, message by message, and fragment by fragment', () => {
  const calm = attacked(undefined, nearest).accuracy
  const recent = mixes(() => ({ rule: mixing.nearestOfRecent(new mixing.RecentDistances(), 0.25) }))
  assert.ok(attacked('noise', recent).accuracy > calm - 0.12)
  const pulls = { topology: randomPulls(13, 8, 1) }
  assert.ok(attacked('noise', nearest, pulls).accuracy > calm - 0.12)
  const fragments = attacked('stale-replay', nearest, { fragments: 4 })
  assert.ok(fragments.accuracy > calm - 0.2, String(fragments.accuracy))
})

test('variance correction: strangers learn late without it and early with it; peers of one start do not need it', () => {
  const run = (start: 'same' | 'different', corrected: boolean, rounds: number) =>
    trainInRounds({
      ...small,
      honest: 16,
      widths: [32, 32, 32, 32, 10],
      alpha: 0.5,
      rounds,
      localSteps: 20,
      learningRate: 0.1,
      start,
      topology: randomPulls(16, 4, 1),
      mixer: mixes((model) => ({ rule: mixing.mean, ownWeight: 4, ...(corrected ? { tensors: model.weights } : {}) })),
    })
  const [late, early] = [run('different', false, 12), run('different', true, 12)]
  assert.ok(late.standings[0]!.accuracy < CHANCE + 0.15, String(late.standings[0]!.accuracy))
  assert.ok(early.standings[0]!.accuracy > late.standings[0]!.accuracy + 0.2, String(early.standings[0]!.accuracy))
  assert.ok(early.corrections > 0)
  const [plain, guarded] = [run('same', false, 4), run('same', true, 4)]
  assert.equal(guarded.corrections, 0)
  assert.deepEqual(guarded.standings, plain.standings)
})

test('after sparse gossip one merge of all gains much; without a common start it gains nothing', () => {
  const run = (topology: RoundsOptions['topology'], start: 'same' | 'different' = 'same') =>
    trainInRounds({
      ...small,
      honest: 16,
      widths: [32, 32, 10],
      alpha: 0.1,
      rounds: 40,
      localSteps: 15,
      learningRate: 0.15,
      start,
      topology,
      mixer: guardedMean,
    }).standings[0]!
  const gainOf = (standing: ReturnType<typeof run>): number =>
    mixing.counterfactualGain(standing.merged, standing.locals).accuracy!
  const sparse = run(randomPairs(16, 0.2, 1))
  assert.ok(gainOf(sparse) > 0.15, String(gainOf(sparse)))
  const apart = run(() => [], 'different')
  assert.ok(gainOf(apart) < 0.05, String(gainOf(apart)))
  assert.ok(apart.consensusError > sparse.consensusError)
})
