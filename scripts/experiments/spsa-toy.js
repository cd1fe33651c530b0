/**
 * The small world of the experiments with `spsa`: a decoder of 28,832 parameters that has learned the embedded stories by ordinary training, and
 * the same stories with eight letters exchanged, of which eight machines hold a part each. Loss, byte, directions, weights and sums are
 * those of the product: its compute tasks run here one after the other, in one process and without a network.
 */
import { loadKernels, SharedVectors } from '../../dist/kernels/index.js'
import {
  createTrainer,
  dataSchema,
  generateStories,
  initialize,
  layoutOf,
  openDataset,
  openEngine,
  trainerVectors,
} from '../../dist/models/index.js'
import { decodeByte, encodeByte } from '../../dist/protocols/spsa/byte.js'
import { directionKeys } from '../../dist/protocols/spsa/directions.js'
import { effectsBetween } from '../../dist/protocols/spsa/effects.js'
import { projectedGradient } from '../../dist/protocols/spsa/estimate.js'
import {
  applyTask,
  clearTask,
  dotTask,
  driftTask,
  perturbTask,
  refreshTask,
  spsaVectors,
} from '../../dist/protocols/spsa/tasks.js'
import { rateAt, weightRule } from '../../dist/protocols/spsa/weights.js'

/** Parts into which the shifted text is cut; more machines than these there cannot be. */
export const MACHINES = 8

const CONTEXT = 64
const model = {
  architecture: 'decoder',
  vocabulary: 256,
  context: CONTEXT,
  layers: 2,
  width: 32,
  heads: 2,
  hidden: 64,
  tied: true,
}
const pretraining = {
  batch: 16,
  steps: 2000,
  optimizer: { name: 'adamw', learningRate: 0.005, weightDecay: 0.1, beta2: 0.99 },
}
/** Local steps of `seeded`: constant rate, so that runs of different lengths can be compared. */
export const local = {
  batch: 16,
  steps: 1_000_000,
  warmup: 0,
  finalRate: 1,
  optimizer: { name: 'adamw', learningRate: 0.001, weightDecay: 0, beta2: 0.99 },
}

/** The eight most frequent letters, each of which becomes the next one. */
const RING = 'etaonihs'

/** A text with the letters of {@link RING} exchanged: the same grammar in another spelling. */
export function relabelled(bytes) {
  const table = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  for (const [i, letter] of [...RING].entries()) {
    const next = RING[(i + 1) % RING.length]
    table[letter.charCodeAt(0)] = next.charCodeAt(0)
    table[letter.toUpperCase().charCodeAt(0)] = next.toUpperCase().charCodeAt(0)
  }
  return bytes.map((byte) => table[byte])
}

/** Trains the decoder on the stories, `pretrain` steps of the schedule, and opens the shifted ones. `note` is told how it goes. */
export async function openToy({ engine: prefer, note = () => {}, pretrain = pretraining.steps } = {}) {
  const engine = await openEngine({ threads: 1, ...(prefer === undefined ? {} : { prefer }) })
  const { length } = layoutOf(model)
  const moments = Object.keys(trainerVectors(model, local)).filter((name) => !['theta', 'gradient'].includes(name))
  const vectors = SharedVectors.create({
    ...trainerVectors(model, pretraining),
    ...spsaVectors(length),
    ...Object.fromEntries(
      Array.from({ length: MACHINES }, (_, machine) =>
        moments.map((name) => [`${name} ${machine}`, { type: 'float32', length }]),
      ).flat(),
    ),
  })
  const kernels = loadKernels(vectors)
  const context = {
    kernels,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  const open = (bytes, shard, index) =>
    openDataset({
      data: dataSchema.parse({
        source: 'text',
        file: { name: 'stories.txt', root: '0'.repeat(64), size: bytes.length },
        validation: { rows: 128 },
        shard,
      }),
      context: CONTEXT,
      seed: 1,
      shard: { index, count: MACHINES },
      file: bytes,
    })
  const stories = generateStories(1, 2_000_000)
  const shifted = relabelled(stories)

  const teacher = createTrainer({
    engine,
    kernels,
    vectors,
    model,
    training: pretraining,
    dataset: await open(stories, { rule: 'shuffled' }, 0),
  })
  initialize(teacher.layout, model, 1, vectors.float32('theta'))
  while (teacher.stepNumber < pretrain) {
    const { step, loss } = teacher.step()
    if (step % 500 === 0) note(`backpropagation, step ${step}: ${loss.toFixed(3)}`)
  }
  const before = teacher.evaluate().loss
  vectors.float32('base').set(vectors.float32('theta'))

  // Every machine has its own moments of the optimizer and shares the rest: they take turns.
  const trainers = []
  for (let machine = 0; machine < MACHINES; machine++) {
    const own = (name) => vectors.float32(moments.includes(name) ? `${name} ${machine}` : name)
    const dataset = await open(shifted, { rule: 'disjoint', of: MACHINES }, machine)
    trainers.push(createTrainer({ engine, kernels, vectors: { float32: own }, model, training: local, dataset }))
  }
  const evaluate = () => trainers[0].evaluate().loss
  const toy = { context, vectors, trainers, moments, evaluate, parameters: teacher.layout.parameters, before }
  return { ...toy, shifted: evaluate() }
}

/** What an arm does unless it says otherwise: a contribution of 4 samples per machine and round, all of a round at one point. */
const defaults = {
  machines: 4,
  samples: 4,
  rounds: 400,
  seed: 1,
  directions: 'sign',
  scaling: 'sum',
  learningRate: 5e-4,
  epsilon: 1e-3,
  quantum: 2 ** -10,
  clip: 240,
  // The toy of the research keeps its rate to the end.
  warmup: 0,
  finalRate: 1,
  /** How a projected gradient travels: the byte of the product, as it is, or in 16 steps per factor of e as in the reference code. */
  code: 'byte',
}

/** Weights above which a run counts as diverged: the loss of guessing is ln 256. */
const DIVERGED = 12

/**
 * Plays one arm: `rounds` rounds in which every machine makes `samples` contributions at the point that the round found, and then all are
 * applied. Returns the validation loss after each round of `at`, and the projected gradients.
 */
export function playSpsa(toy, options) {
  const arm = { ...defaults, ...options }
  const { machines, samples, rounds, epsilon, directions, quantum, code, at = [rounds] } = arm
  const { context } = toy
  const run = `toy ${arm.seed}`
  const rule = weightRule(arm, rounds * samples)
  const gradients = []
  const contribute = (machine, step) => {
    const loss = (sign) => {
      perturbTask.run(context, { run, author: nameOf(machine), step, sign, epsilon, directions })
      return toy.trainers[machine].lossAt('candidate', step - 1)
    }
    const gradient = projectedGradient(loss(1), loss(-1), epsilon)
    gradients.push(gradient)
    return gradient
  }
  const set = code === 'byte' ? byteSet(toy, run, rule, arm) : exactSet(toy, run, rule, arm)
  const losses = {}
  for (let round = 1; round <= rounds; round++) {
    for (let machine = 0; machine < machines; machine++) {
      for (let sample = 1; sample <= samples; sample++) {
        const step = (round - 1) * samples + sample
        set.add(machine, contribute(machine, step))
      }
    }
    set.apply()
    if (at.includes(round)) {
      losses[round] = toy.evaluate()
      if (!(losses[round] < DIVERGED)) break
    }
  }
  return { losses, gradients, quantum }
}

/**
 * Plays one arm of `seeded`: each round every machine takes `innerSteps` optimizer steps from the common point and sends `coordinates` bytes.
 */
export function playSeeded(toy, options) {
  const arm = {
    ...defaults,
    quantum: 2 ** -14,
    clip: 1,
    learningRate: 0.05,
    innerSteps: 10,
    coordinates: 64,
    blocks: 1,
    ...options,
  }
  const { machines, rounds, innerSteps, coordinates, blocks, at = [rounds] } = arm
  const { context, trainers, vectors, moments } = toy
  const run = `toy seeded ${arm.seed}`
  const rule = weightRule(arm, rounds * coordinates)
  for (let machine = 0; machine < machines; machine++) {
    for (const name of moments) vectors.float32(`${name} ${machine}`).fill(0)
    trainers[machine].stepNumber = 0
  }
  const set = byteSet(toy, run, rule, arm)
  const losses = {}
  const gradients = []
  const norms = []
  for (let round = 1; round <= rounds; round++) {
    for (let machine = 0; machine < machines; machine++) {
      for (let step = 0; step < innerSteps; step++) trainers[machine].step()
      norms.push(driftTask.run(context, { rule }).norm)
      const from = (round - 1) * coordinates + 1
      const dots = dotTask.run(context, { run, author: nameOf(machine), from, count: coordinates, rule })
      for (const dot of dots) {
        const gradient = (-dot * blocks) / coordinates
        gradients.push(gradient)
        set.add(machine, gradient)
      }
    }
    set.apply()
    if (at.includes(round)) {
      losses[round] = toy.evaluate()
      if (!(losses[round] < DIVERGED)) break
    }
  }
  return { losses, gradients, norms, quantum: arm.quantum }
}

const nameOf = (machine) => `machine ${machine}`

/** The set of contributions as the product holds it: bytes by author, integer sums, theta from those. */
function byteSet({ context }, run, rule, { quantum, machines }) {
  const bytes = new Map(Array.from({ length: machines }, (_, machine) => [nameOf(machine), []]))
  let before = new Map()
  clearTask.run(context, null)
  refreshTask.run(context, { rule })
  return {
    add: (machine, gradient) => bytes.get(nameOf(machine)).push(encodeByte(gradient, quantum)),
    apply() {
      const after = new Map([...bytes].map(([author, list]) => [author, list.length]))
      const effects = effectsBetween(before, after, (author) => Uint8Array.from(bytes.get(author)), rule)
      applyTask.run(context, { run, effects, rule })
      refreshTask.run(context, { rule })
      before = after
    },
  }
}

/** The same in double precision, for gradients that are no integers: what the byte is compared with. */
function exactSet({ context, vectors }, run, rule, { code, scaling, machines }) {
  const theta = vectors.float32('theta')
  const base = vectors.float32('base')
  const numerators = vectors.int32('snapshot')
  const sums = new Float64Array(theta.length)
  const divisor =
    (rule.directions === 'sign' ? 1 : Math.sqrt(8)) * { sum: 1, sqrt: Math.sqrt(machines), mean: machines }[scaling]
  const steps = new Array(machines).fill(0)
  let waiting = []
  theta.set(base)
  return {
    add: (machine, gradient) => waiting.push({ machine, step: ++steps[machine], gradient }),
    apply() {
      for (const { machine, step, gradient } of waiting) {
        const key = vectors.bytes('spsa-keys').subarray(0, 32)
        key.set(directionKeys(run, nameOf(machine)).of(step))
        const one = vectors.int32('spsa-coefficients').subarray(0, 1).fill(1)
        numerators.fill(0)
        context.kernels.addDirections(numerators, key, one, 1, rule.directions, 0)
        const value = ((code === 'reference' ? referenceCode(gradient) : gradient) * rateAt(rule, step)) / divisor
        for (let i = 0; i < sums.length; i++) sums[i] += value * numerators[i]
      }
      waiting = []
      for (let i = 0; i < sums.length; i++) theta[i] = base[i] - sums[i]
    },
  }
}

/** The quantizer of the reference code: p = round(16 ln |g|), held within -127 .. 127. */
function referenceCode(gradient) {
  if (gradient === 0) return 0
  const power = Math.max(-127, Math.min(127, Math.round(16 * Math.log(Math.abs(gradient)))))
  return Math.sign(gradient) * Math.exp(power / 16)
}

/** Quantiles of the magnitudes, and how far the byte moves them: root mean square of byte - gradient over that of the gradients. */
export function gradientFigures(gradients, quantum) {
  const sorted = gradients.map(Math.abs).sort((a, b) => a - b)
  const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))]
  const squares = (list) => list.reduce((sum, value) => sum + value * value, 0)
  const errors = gradients.map((gradient) => decodeByte(encodeByte(gradient, quantum)) * quantum - gradient)
  return {
    quantiles: Object.fromEntries([0.01, 0.1, 0.5, 0.9, 0.99, 1].map((share) => [`${100 * share} %`, quantile(share)])),
    relativeError: Math.sqrt(squares(errors) / squares(gradients)),
  }
}
