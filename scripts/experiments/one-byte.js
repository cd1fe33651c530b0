/**
 * Just One Byte (arXiv 2306.10015): does a byte per gradient learn, do more machines help, and what travels until a loss is reached? A decoder that knows the stories meets them with eight
 * letters exchanged and is adapted (spsa-toy.js), by `spsa` and, for comparison, by real gradients averaged in every step and by DiLoCo, both written plainly here.
 */
import { createOptimizer } from '../../dist/models/index.js'
import { linePlot } from './plot.js'
import { local, openToy, playSpsa } from './spsa-toy.js'
import { markdown, mean, of, text } from './table.js'

/** Contributions of a machine in a round of `spsa`, and bytes of them under one signature. */
const SAMPLES = 4
const SIGNED = { bytes: 16, signature: 64 }
/** Machines of the arms that exchange more than bytes, and the local steps of DiLoCo (the batches are those of a contribution). */
const MACHINES = 4
const INNER = 10
const DILOCO = { alpha: 0.3, beta: 0.7 }

const decay = { finalRate: 0.1 }
/** The arms of `spsa`. What they do not say is in spsa-toy.js: 4 machines, sum, a constant learning rate of 5e-4, the byte, signs. */
const SPSA = {
  'sum, 1': { machines: 1 },
  'sum, 2': { machines: 2 },
  'sum, 4': {},
  'sum, 8': { machines: 8 },
  'sqrt, 2': { machines: 2, scaling: 'sqrt' },
  'sqrt, 4': { scaling: 'sqrt' },
  'sqrt, 8': { machines: 8, scaling: 'sqrt' },
  'mean, 4': { scaling: 'mean' },
  float32: { code: 'float32' },
  'decay: sum, 4': decay,
  'decay: sqrt, 4': { scaling: 'sqrt', ...decay },
  'decay: sum, 8': { machines: 8, ...decay },
  'decay: sqrt, 8': { machines: 8, scaling: 'sqrt', ...decay },
  'decay: float32': { code: 'float32', ...decay },
}
const OTHERS = ['gradients', 'DiLoCo']
/** Those that a second seed repeats. */
const AGAIN = ['sum, 4', 'decay: sum, 4', 'decay: sqrt, 4', 'decay: sum, 8', 'decay: sqrt, 8', 'decay: float32']

/** One toy a process and length of its pretraining: every arm begins at its base. */
const toys = new Map()
async function toyOf(pretrain) {
  if (!toys.has(pretrain)) toys.set(pretrain, await openToy(pretrain === undefined ? {} : { pretrain }))
  return toys.get(pretrain)
}

/** Rounds after which the loss is looked at: 16 times. */
const marksOf = (rounds) => Array.from({ length: 16 }, (_, i) => Math.round(((i + 1) * rounds) / 16))

/** Moments of all machines <- 0; the first batch of each. */
function begin({ trainers, vectors, moments }, first) {
  for (let machine = 0; machine < MACHINES; machine++) {
    for (const name of moments) vectors.float32(`${name} ${machine}`).fill(0)
    trainers[machine].stepNumber = first
  }
}

/** Data parallel training: AdamW with the mean gradient of all machines, clipped to 1. */
function playGradients(toy, { rounds, first }) {
  const { trainers, vectors, moments, context } = toy
  const { kernels } = context
  begin(toy, first)
  const [theta, gradient] = ['theta', 'gradient'].map((name) => vectors.float32(name))
  theta.set(vectors.float32('base'))
  const vector = (name) => vectors.float32(moments.includes(name) ? `${name} 0` : name)
  const optimizer = createOptimizer(local.optimizer, kernels, vector, [{ begin: 0, end: theta.length, decay: false }])
  const sum = new Float64Array(theta.length)
  const losses = []
  for (let round = 1; round <= rounds; round++) {
    sum.fill(0)
    for (let machine = 0; machine < MACHINES; machine++) {
      trainers[machine].gradient(first + round - 1)
      for (let i = 0; i < sum.length; i++) sum[i] += gradient[i] / MACHINES
    }
    gradient.set(sum)
    optimizer.apply(round, local.optimizer.learningRate, Math.min(1, 1 / Math.sqrt(kernels.sumSquares(gradient))))
    if (round % 5 === 0) losses.push([round, toy.evaluate()])
  }
  return losses
}

/** DiLoCo: each machine takes `INNER` optimizer steps on its own data from the common point; delta <- alpha delta + beta mean(theta - phi), phi <- phi + delta. */
function playDiloco(toy, { rounds, first }) {
  const { trainers, vectors } = toy
  const { alpha, beta } = DILOCO
  begin(toy, first)
  const theta = vectors.float32('theta')
  const phi = Float64Array.from(vectors.float32('base'))
  const [delta, sum] = [new Float64Array(phi.length), new Float64Array(phi.length)]
  const losses = []
  for (let round = 1; round <= rounds; round++) {
    sum.fill(0)
    for (let machine = 0; machine < MACHINES; machine++) {
      // Replicas take turns at theta; each has its own moments.
      theta.set(phi)
      for (let step = 0; step < INNER; step++) trainers[machine].step()
      for (let i = 0; i < sum.length; i++) sum[i] += theta[i] / MACHINES
    }
    for (let i = 0; i < phi.length; i++) {
      delta[i] = alpha * delta[i] + beta * (sum[i] - phi[i])
      phi[i] += delta[i]
    }
    theta.set(phi)
    losses.push([round, toy.evaluate()])
  }
  return losses
}

/** First point of a curve at or below a loss, by a straight line between two points. */
function reached(points, loss) {
  for (const [i, [at, value]] of points.entries()) {
    if (value > loss) continue
    if (i === 0) return at
    const [before, above] = points[i - 1]
    return before + ((above - loss) / (above - value)) * (at - before)
  }
  return undefined
}

/** Losses for which the bytes are compared. */
const TARGETS = [3, 2.6, 2.5]

export const experiment = {
  name: 'one-byte',
  title: 'Just One Byte: machines, the byte, bytes at equal loss',
  paper:
    'arXiv 2306.10015 (abstract; the body was not to be had, so no table of it is quoted): workers that share random seeds need to send one byte per gradient, may come and go, and learn with the memory of inference.',
  setting:
    'A decoder of 28,832 parameters knows the stories (1.08 nats per byte), eight letters are exchanged (5.13) and it is adapted: 400 rounds of 4 bytes per machine, batches of 16 × 64 bytes, each machine with data of its ' +
    'own, rate 5e-4, constant or falling to a tenth. Bytes per machine: what it sends of its own, once; `spsa` also with the product’s signatures of 64 bytes for 16, the others as float32 by a ring (2 (n − 1) / n models or ' +
    'gradients an exchange), nothing else counted. DiLoCo: 10 local AdamW steps, alpha 0.3, beta 0.7. Data parallel: AdamW on the mean gradient, one exchange a step.',

  jobs({ reduced }) {
    if (reduced) return ['sum, 1', 'sum, 4', 'float32'].map((arm) => ({ arm, seed: 1, rounds: 16, pretrain: 60 }))
    const job = (arm, seed) => ({ arm, seed, rounds: 400 })
    return [
      ...Object.keys(SPSA).map((arm) => job(arm, 1)),
      { arm: 'gradients', seed: 1, rounds: 200 },
      { arm: 'DiLoCo', seed: 1, rounds: 20 },
      ...AGAIN.map((arm) => job(arm, 2)),
    ]
  },

  async run({ arm, seed, rounds, pretrain }) {
    const toy = await toyOf(pretrain)
    const world = { parameters: toy.parameters, before: toy.before, shifted: toy.shifted }
    const first = 1000 * seed
    if (arm === 'gradients') return { ...world, losses: playGradients(toy, { rounds, first }) }
    if (arm === 'DiLoCo') return { ...world, losses: playDiloco(toy, { rounds, first }) }
    const { losses } = playSpsa(toy, { rounds, at: marksOf(rounds), seed, ...SPSA[arm] })
    return { ...world, losses: Object.entries(losses).map(([round, loss]) => [Number(round), loss]) }
  },

  report(runs, { reduced }) {
    const arms = [...new Set(runs.map(({ job }) => job.arm))]
    const runsOf = (arm) => runs.filter(({ job }) => job.arm === arm)
    const finals = (arm) => runsOf(arm).map(({ result }) => result.losses.at(-1)[1])
    const final = (arm) => mean(finals(arm))
    const at = (arm, round) => runsOf(arm).map(({ result }) => result.losses.find(([mark]) => mark === round)?.[1])
    const byteLoss = (byte, exact) => final(byte) / final(exact) - 1
    if (reduced) {
      const claims = [
        {
          claim: 'the byte loses less than 1 % against float32',
          ours: `${text(100 * byteLoss('sum, 4', 'float32'), 2)} %`,
          holds: Math.abs(byteLoss('sum, 4', 'float32')) < 0.01,
          asserted: true,
        },
        {
          claim: 'four machines are ahead of one',
          ours: `${text(final('sum, 4'))}, ${text(final('sum, 1'))}`,
          holds: final('sum, 4') < final('sum, 1'),
          asserted: true,
        },
      ]
      return { text: '', plots: {}, claims }
    }
    const [{ result: world }] = runs
    const spsa = arms.filter((arm) => !OTHERS.includes(arm))
    const losses = markdown(
      ['arm', 'loss after 50 rounds', '200', '400'],
      spsa.map((arm) => [arm, ...[50, 200, 400].map((round) => of(at(arm, round).map((loss) => text(loss))))]),
    )
    const bytes = bytesOf(runs, world)
    const traffic = markdown(
      [`bytes sent per machine (${MACHINES} machines) until a loss of`, ...TARGETS.map((target) => text(target, 1))],
      Object.entries(bytes).map(([name, points]) => [
        name,
        ...TARGETS.map((target) => {
          const found = reached(points, target)
          return found === undefined ? 'not reached' : Math.round(found).toLocaleString('en')
        }),
      ]),
    )
    const double = (from, to) => final(to) < final(from)
    const first = Object.values(bytes).map((points) => reached(points, TARGETS[0]))
    const claims = [
      {
        claim: 'more machines, lower loss after as many rounds (1, 2, 4, 8)',
        ours: ['sum, 1', 'sum, 2', 'sum, 4', 'sum, 8'].map((arm) => text(final(arm))).join(' > '),
        holds: double('sum, 1', 'sum, 2') && double('sum, 2', 'sum, 4') && double('sum, 4', 'sum, 8'),
        asserted: true,
      },
      {
        claim: 'with 1/√n as well, at the falling rate (4, 8)',
        ours: of(['decay: sqrt, 4', 'decay: sqrt, 8'].map((arm) => text(final(arm)))),
        holds: double('decay: sqrt, 4', 'decay: sqrt, 8'),
        asserted: true,
      },
      {
        claim: 'the byte is as good as float32: final loss within 1 % (falling rate)',
        ours: `${text(100 * byteLoss('decay: sum, 4', 'decay: float32'), 2)} %`,
        holds: Math.abs(byteLoss('decay: sum, 4', 'decay: float32')) < 0.01,
        asserted: true,
      },
      {
        claim: 'a byte needs orders of magnitude less traffic than data parallel training and DiLoCo, at equal loss',
        ours: `to ${text(TARGETS[0], 1)}: 1 : ${text(first[3] / first[0], 0)} to DiLoCo, 1 : ${text(first[2] / first[0], 0)} to data parallel; with signatures a fifth of that`,
        holds: Math.min(first[2], first[3]) > 50 * first[0],
        asserted: true,
      },
    ]
    const curve = (arm) => runsOf(arm)[0].result.losses
    const counts = ['1', '2', '4', '8']
    const plots = {
      '': linePlot({
        title: 'Adapting to a new spelling with one byte per gradient',
        x: `rounds of ${SAMPLES} bytes per machine`,
        y: 'validation loss, nats per byte',
        series: spsa
          .filter((arm) => /^(sum|sqrt), /.test(arm))
          .map((arm) => {
            const [scaling, machines] = arm.split(', ')
            return {
              name: `${machines} machine${machines === '1' ? '' : 's'}${scaling === 'sqrt' ? ', 1/√n' : ''}`,
              points: [[0, world.shifted], ...curve(arm)],
              dashed: scaling === 'sqrt',
              colour: counts.indexOf(machines),
            }
          }),
      }),
      '-bytes': linePlot({
        title: 'Validation loss by bytes sent',
        x: 'bytes sent per machine, log10',
        y: 'nats per byte',
        series: Object.entries(bytes).map(([name, points]) => ({
          name: name.replaceAll('`', ''),
          points: points.map(([sent, loss]) => [Math.log10(sent), loss]),
        })),
      }),
    }
    const farther = `Real gradients learn farther: data parallel training is at ${text(final('gradients'))} after 200 steps, DiLoCo at ${text(final('DiLoCo'))} after 20 phases of ${INNER} steps.`
    return { text: [losses, traffic, farther].join('\n\n'), plots, claims }
  },
}

/** Curves of loss against bytes that a machine has sent, by way. */
function bytesOf(runs, { parameters }) {
  const curve = (arm) => runs.find(({ job }) => job.arm === arm).result.losses
  const scaled = (points, bytes) => points.map(([rounds, loss]) => [rounds * bytes, loss])
  const ring = ((2 * (MACHINES - 1)) / MACHINES) * 4 * parameters
  return {
    '`spsa`, bytes alone': scaled(curve('decay: sum, 4'), SAMPLES),
    '`spsa`, signed': scaled(curve('decay: sum, 4'), SAMPLES * (1 + SIGNED.signature / SIGNED.bytes)),
    'data parallel': scaled(curve('gradients'), ring),
    DiLoCo: scaled(curve('DiLoCo'), ring),
  }
}
