import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twins } from '../../kernels/index.ts'
import { seededRandom, shuffled } from '../random.ts'
import { composeMessage, outerStep, outerStepReference, type Replica } from './outer-step.ts'
import { pairsOf } from './pairing.ts'
import { consensusBound, type OuterConstants } from './stability.ts'

const near = (actual: number, expected: number, tolerance: number): void =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not within ${tolerance} of ${expected}`)

const paper: OuterConstants = { alpha: 0.5, beta: 0.7, gamma: 0.7 }

/** A generator of standard normal numbers (Box-Muller). */
function normal(seed: number): () => number {
  const random = seededRandom('outer-step-test', seed)
  return () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
}

function replica(theta: number[], phi: number[], delta: number[]): Replica {
  return { theta: Float64Array.from(theta), phi: Float64Array.from(phi), delta: Float64Array.from(delta) }
}

test('one pair of scalars by hand (conformance 1)', () => {
  const a = replica([1.5], [1], [0.2])
  const b = replica([2], [3], [-0.4])
  for (const [gamma, deltas, phis] of [
    [0.7, [0.625, -1.075], [1.625, 1.925]],
    [0.3, [0.225, -0.675], [1.225, 2.325]],
  ] as const) {
    const after = [a, b].map((own) => outerStepReference(own, [a, b], { ...paper, gamma }))
    for (const [i, state] of after.entries()) {
      near(state.delta[0]!, deltas[i]!, 1e-12)
      near(state.phi[0]!, phis[i]!, 1e-12)
      assert.equal(state.theta[0], state.phi[0])
    }
  }
})

test('the form with one tensor equals the form with two (conformance 2)', () => {
  const draw = normal(2)
  const size = 64
  const vector = (): Float32Array => Float32Array.from({ length: size }, draw)
  for (const gamma of [0.7, 0.3, 1.2]) {
    const constants = { ...paper, gamma }
    const replicas = [0, 1].map(() => ({ theta: vector(), phi: vector(), delta: vector() }))
    const expected = replicas.map((own) => outerStepReference(own, replicas, constants))
    const messages = replicas.map(({ theta, phi }) => {
      const message = new Float32Array(size)
      composeMessage(twins, message, theta, phi, constants)
      return message
    })
    for (const [i, own] of replicas.entries()) {
      outerStep(twins, own, messages[i]!, messages[1 - i]!, constants)
      for (const name of ['theta', 'phi', 'delta'] as const) {
        own[name].forEach((value, k) => {
          near(value, expected[i]![name][k]!, 2e-6)
        })
      }
    }
  }
})

test('the mean of the replicas follows DiLoCo, whatever the pairs (conformance 3)', () => {
  for (const count of [2, 3, 5, 8]) {
    const draw = normal(count)
    const names = Array.from({ length: count }, (_, i) => `p${i}`)
    const states = names.map(() => {
      const start = draw()
      return { theta: Float32Array.of(start), phi: Float32Array.of(start), delta: Float32Array.of(0) }
    })
    const mean = (name: keyof Replica): number => states.reduce((sum, state) => sum + state[name][0]!, 0) / count
    let phi = mean('phi')
    let delta = 0
    let largest = Math.abs(phi)
    for (let round = 1; round <= 100; round++) {
      for (const state of states) {
        state.theta[0] = state.theta[0]! * 0.9 + 0.3 * draw()
      }
      delta = paper.alpha * delta + paper.beta * (mean('theta') - mean('phi'))
      phi += delta
      largest = Math.max(largest, Math.abs(phi))
      const own = states.map(({ theta }) => theta.slice())
      const partner = own.map((theta) => theta)
      for (const [a, b] of pairsOf('run', round, names)) {
        const i = names.indexOf(a)
        const j = names.indexOf(b)
        partner[i] = own[j]!
        partner[j] = own[i]!
      }
      states.forEach((state, i) => {
        outerStep(twins, state, own[i]!, partner[i]!, paper)
      })
    }
    near(mean('phi'), phi, 1e-5 * largest)
  }
})

test('a group of all is DiLoCo with heavy ball, a group of one is Lookahead with momentum (conformance 4)', () => {
  const draw = normal(4)
  const states = Array.from({ length: 6 }, () => replica([draw(), draw()], [1, -2], [0.1, 0.2]))
  const gradient = [0, 1].map(
    (k) => states.reduce((sum, { theta, phi }) => sum + (phi[k]! - theta[k]!), 0) / states.length,
  )
  for (const own of states) {
    const together = outerStepReference(own, states, paper)
    const single = outerStepReference(own, [own], paper)
    for (const k of [0, 1]) {
      // DiLoCo: velocity <- alpha velocity + gradient, parameters -= beta velocity; delta = -beta velocity.
      near(together.phi[k]!, own.phi[k]! + paper.alpha * own.delta[k]! - paper.beta * gradient[k]!, 1e-12)
      near(
        single.phi[k]!,
        own.phi[k]! + paper.alpha * own.delta[k]! + paper.beta * (own.theta[k]! - own.phi[k]!),
        1e-12,
      )
    }
  }
})

/** The second moments of replicas without gradients, by the recursion behind {@link consensusBound}; x relative to its start. */
function recursion(count: number, { alpha, gamma }: OuterConstants, rounds: number): number[] {
  const less = count / (count - 1)
  let [x, c, y] = [1, 0, 0]
  const result: number[] = []
  for (let t = 0; t < rounds; t++) {
    const ed = alpha * c - (gamma / 2) * less * x
    y = alpha * alpha * y - alpha * gamma * less * c + ((gamma * gamma * less) / 2) * x
    c = ed + y
    x = x + 2 * ed + y
    result.push(x)
  }
  return result
}

test('without gradients replicas come to agree as the theory says (conformance 5)', () => {
  const draw = normal(5)
  const count = 16
  const width = 8
  const rounds = 12
  const names = Array.from({ length: count }, (_, i) => `p${i}`)
  const sums = new Float64Array(rounds + 1)
  for (let repetition = 0; repetition < 2000; repetition++) {
    const random = seededRandom('consensus', repetition)
    const phi = Array.from({ length: count }, () => Float64Array.from({ length: width }, draw))
    const delta = phi.map(() => new Float64Array(width))
    for (let t = 0; t <= rounds; t++) {
      for (let k = 0; k < width; k++) {
        const mean = phi.reduce((sum, values) => sum + values[k]!, 0) / count
        sums[t] = sums[t]! + phi.reduce((sum, values) => sum + (values[k]! - mean) ** 2, 0)
      }
      const order = shuffled(names, random).map((name) => names.indexOf(name))
      for (let i = 0; i < count; i += 2) {
        const [a, b] = [order[i]!, order[i + 1]!]
        for (let k = 0; k < width; k++) {
          const mean = (phi[a]![k]! + phi[b]![k]!) / 2
          for (const peer of [a, b]) {
            delta[peer]![k] = paper.alpha * delta[peer]![k]! + paper.gamma * (mean - phi[peer]![k]!)
            phi[peer]![k] = phi[peer]![k]! + delta[peer]![k]!
          }
        }
      }
    }
  }
  const theory = recursion(count, paper, rounds)
  for (const [t, expected] of [
    [1, 0.484],
    [2, 0.245],
    [4, 0.141],
    [8, 0.03],
    [12, 0.0066],
  ] as const) {
    // The figures are relative to the variance that phi is drawn from, 1, of which (N - 1)/N lies between the replicas at the start.
    const variance = sums[t]! / (2000 * width * count)
    near(variance / expected, 1, 0.03)
    near(sums[t]! / sums[0]! / theory[t - 1]!, 1, 0.03)
  }
})

test('a fixed pair comes to agree with |r| = 0.7071 (conformance 5)', () => {
  const states = [replica([1], [1], [0]), replica([-1], [-1], [0])] as [Replica, Replica]
  const gaps: number[] = []
  for (let t = 0; t < 30; t++) {
    gaps.push(states[0].phi[0]! - states[1].phi[0]!)
    const next = states.map((own) => outerStepReference(own, states, paper)) as [Replica, Replica]
    states[0] = next[0]
    states[1] = next[1]
  }
  for (let t = 2; t < gaps.length; t++) {
    near(gaps[t]!, 0.8 * gaps[t - 1]! - 0.5 * gaps[t - 2]!, 1e-12)
  }
})

test('the bound divides what contracts from what does not', () => {
  for (const count of [4, 8, 16]) {
    for (const alpha of [0, 0.5, 0.9]) {
      const bound = consensusBound(alpha, { replicas: count })
      const end = (gamma: number): number => recursion(count, { alpha, beta: gamma, gamma }, 2000).at(-1)!
      assert.ok(end(0.95 * bound) < 1e-3, `alpha ${alpha}, ${count} replicas: below the bound`)
      assert.ok(end(1.05 * bound) > 1, `alpha ${alpha}, ${count} replicas: above the bound`)
    }
  }
})

test('with identical data NoLoCo is DiLoCo; with alpha = 0 and beta = 1 both are local training (conformance 9)', () => {
  const draw = normal(9)
  for (const constants of [paper, { alpha: 0, beta: 1, gamma: 1 }]) {
    const names = ['a', 'b', 'c', 'd']
    const states = names.map(() => replica([2], [2], [0]))
    let diloco = { phi: 2, velocity: 0 }
    let local = 2
    for (let round = 1; round <= 20; round++) {
      const noise = draw()
      const train = (theta: number): number => theta - 0.3 * (theta - noise)
      diloco = ((theta) => {
        const velocity = constants.alpha * diloco.velocity + (diloco.phi - theta)
        return { phi: diloco.phi - constants.beta * velocity, velocity }
      })(train(diloco.phi))
      local = train(local)
      for (const state of states) {
        state.theta[0] = train(state.theta[0]!)
      }
      for (const [a, b] of pairsOf('run', round, names)) {
        const pair = [a, b].map((name) => names.indexOf(name))
        const group = pair.map((i) => states[i]!)
        const next = group.map((own) => outerStepReference(own, group, constants))
        pair.forEach((i, at) => {
          states[i] = next[at]!
        })
      }
      for (const state of states) {
        near(state.phi[0]!, diloco.phi, 1e-9)
        if (constants.beta === 1) {
          near(state.phi[0]!, local, 1e-9)
        }
      }
    }
  }
})
