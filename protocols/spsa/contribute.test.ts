import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SharedVectors, twins } from '../../kernels/index.ts'
import type { ComputeContext, Learner, Swarm } from '../ports.ts'
import { seededRandom } from '../random.ts'
import { decodeByte } from './byte.ts'
import { type Contribute, driftCoordinates, twoPoint } from './contribute.ts'
import { effectsBetween } from './effects.ts'
import { type SpsaOptions, spsaOptionsSchema } from './options.ts'
import { applyTask, perturbTask, spsaVectors } from './tasks.ts'
import { weightRule } from './weights.ts'

const SIGNAL = new AbortController().signal

/** A peer that stands at theta = 0, whose training adds `drift` to theta and whose loss is `loss`. */
function peer(
  size: number,
  options: SpsaOptions,
  { drift, loss, stopsAfter }: { drift?: Float32Array; loss?: (x: Float32Array) => number; stopsAfter?: number },
) {
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: size }, ...spsaVectors(size) })
  const context: ComputeContext = {
    kernels: twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  const learner: Partial<Learner> = {
    ...context,
    size,
    async train(count, { onStep } = {}) {
      for (let step = 1; step <= Math.min(count, stopsAfter ?? count); step++) {
        onStep?.({ step, loss: 1, gradientNorm: 1, learningRate: 1, samples: 1, milliseconds: 1 })
      }
      twins.axpy(vectors.float32('theta'), 1, drift!)
    },
    lossAt: async (vector: string) => loss!(vectors.float32(vector)),
    compute: async (task, args) => task.run(context, args),
  }
  const modules = { swarm: { self: 'author', run: 'run' } as Swarm, learner: learner as Learner }
  const rule = weightRule(options, 100_000)
  const contribute: Contribute =
    options.variant === 'spsa'
      ? twoPoint(modules, options)
      : driftCoordinates(modules, options, { rule, steps: 100_000 })
  return { context, rule, contribute }
}

describe('seeded', () => {
  for (const { size, coordinates, blocks } of [
    { size: 2_048, coordinates: 256, blocks: 1 },
    { size: 2_048, coordinates: 2_048, blocks: 1 },
    { size: 8_192, coordinates: 1_024, blocks: 4 },
  ]) {
    test(`${coordinates} coordinates of ${size} parameters in ${blocks} blocks give back the drift with the cosine of theory`, async () => {
      const options = spsaOptionsSchema.parse({ variant: 'seeded', coordinates, blocks, learningRate: 1, finalRate: 1 })
      const random = seededRandom('drift', size, coordinates)
      const drift = Float32Array.from({ length: size }, () => random.uniform() - 0.4)
      const { context, rule, contribute } = peer(size, options, { drift })
      const { bytes } = await contribute(1, SIGNAL)
      assert.equal(bytes.length, coordinates)
      assert.deepEqual(context.float32('theta'), new Float32Array(size), 'theta is that of the set again')
      const effects = effectsBetween(new Map(), new Map([['author', coordinates]]), () => Uint8Array.from(bytes), rule)
      applyTask.run(context, { run: 'run', effects, rule })
      // What would be added to theta.
      const rebuilt = Float64Array.from(context.int32('sums'), (sum) => -rule.unit * sum)
      let [product, own, energy] = [0, 0, 0]
      rebuilt.forEach((value, i) => {
        product += value * drift[i]!
        own += value * value
        energy += drift[i]! * drift[i]!
      })
      const perBlock = coordinates / blocks
      const expected = Math.sqrt(perBlock / (perBlock + size / blocks))
      const cosine = product / Math.sqrt(own * energy)
      assert.ok(Math.abs(cosine / expected - 1) < 0.1, `cosine ${cosine}, of theory ${expected}`)
      // Unbiased: along the drift it is as long as the drift, not a third of it as with the released code.
      const spread = 5 * Math.sqrt(2 / perBlock) + 0.02
      assert.ok(Math.abs(product / energy - 1) < spread, `${product / energy} of its length`)
    })
  }

  test('a drift that is given up leaves theta at the parameters of the set', async () => {
    const options = spsaOptionsSchema.parse({ variant: 'seeded' })
    const { context, contribute } = peer(100, options, { drift: new Float32Array(100).fill(1), stopsAfter: 2 })
    await assert.rejects(contribute(1, SIGNAL), { code: 'aborted' })
    assert.deepEqual(context.float32('theta'), new Float32Array(100))
  })
})

describe('spsa', () => {
  test('the byte is the derivative along the direction of the step, and its sender counts what it decodes to', async () => {
    const size = 3_000
    const slope = Float32Array.from({ length: size }, (_, i) => Math.sin(i))
    const loss = (x: Float32Array): number => x.reduce((sum, value, i) => sum + value * slope[i]!, 0)
    for (const directions of ['sign', 'gaussian'] as const) {
      const options = spsaOptionsSchema.parse({ directions, epsilon: 0.01 })
      const { context, contribute } = peer(size, options, { loss })
      for (const step of [1, 2, 77]) {
        const { bytes, gradientNorm } = await contribute(step, SIGNAL)
        perturbTask.run(context, { run: 'run', author: 'author', step, sign: 1, epsilon: 1, directions })
        const expected = loss(context.float32('candidate'))
        assert.ok(Math.abs(gradientNorm - Math.abs(expected)) < 1e-3 * Math.abs(expected) + 1e-3)
        const counted = decodeByte(bytes[0]!) * options.quantum
        assert.ok(
          Math.abs(counted - expected) <= Math.abs(expected) / 16 + options.quantum,
          `${counted} for ${expected}`,
        )
      }
    }
  })
})
