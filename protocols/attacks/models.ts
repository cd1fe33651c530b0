/** Attacks with a crafted model: finite, of the right size, and meant to be averaged. */
import { normal } from '../random.ts'
import type { AttackDefinition } from './types.ts'

/** message <- -strength * mean of the honest models. */
export const signFlip: AttackDefinition = {
  name: 'sign-flip',
  summary: 'sends the negative of the mean of the honest models',
  strength: { meaning: 'factor of the negative mean', default: 1, least: 0 },
  create:
    (factor) =>
    (message, { honest }) => {
      meanInto(message, honest)
      scaleBy(message, -factor)
    },
}

/**
 * Inner product manipulation (Xie, Koyejo & Gupta 2019, "Fall of Empires", arXiv 1903.03936): not far away, but in the wrong direction.
 * message <- before - strength * (mean of honest - before), so that the average's step has a negative inner product with the honest one
 * when the strength is large enough. The paper attacks gradients; in gossip the same is done to the step since the last mixing.
 */
export const innerProduct: AttackDefinition = {
  name: 'inner-product',
  summary: 'steps back from the last mixed model by as much as the honest ones stepped forward',
  strength: { meaning: 'length of the step back, relative to the honest step', default: 1, least: 0 },
  create:
    (epsilon) =>
    (message, { honest, before }) => {
      meanInto(message, honest)
      for (let i = 0; i < message.length; i++) {
        message[i] = before[i]! - epsilon * (message[i]! - before[i]!)
      }
    },
}

/**
 * A little is enough (Baruch, Baruch & Goldberg 2019, arXiv 1902.06156): message <- mean - z * standard deviation of the honest models, per
 * coordinate: a shift that hides in the honest spread, the same from every liar. z by the paper's equation 1: the largest for which the
 * liars with the s = floor(n/2 + 1) - f honest peers that are farther out make a majority; z = Phi^-1((n - f - s) / (n - f)).
 */
export const littleIsEnough: AttackDefinition = {
  name: 'alie',
  summary: 'shifts every coordinate by a part of the honest standard deviation',
  strength: { meaning: 'standard deviations z; 0 for what the formula of the paper gives', default: 0, least: 0 },
  create:
    (strength) =>
    (message, { honest, peers, faulty }) => {
      const z = strength > 0 ? strength : largestShift(peers, faulty)
      for (let i = 0; i < message.length; i++) {
        let sum = 0
        for (const model of honest) {
          sum += model[i]!
        }
        const mean = sum / honest.length
        let squares = 0
        for (const model of honest) {
          squares += (model[i]! - mean) ** 2
        }
        message[i] = mean - z * Math.sqrt(squares / honest.length)
      }
    },
}

/** message <- own honest model + Gaussian noise of `strength` times its root mean square. */
export const noise: AttackDefinition = {
  name: 'noise',
  summary: 'adds Gaussian noise to its honest model',
  strength: { meaning: 'standard deviation, relative to the root mean square of the model', default: 1, least: 0 },
  create:
    (strength, { random }) =>
    (message) => {
      const deviation = strength * rootMeanSquare(message)
      for (let i = 0; i < message.length; i++) {
        message[i] = message[i]! + deviation * normal(random)
      }
    },
}

/** z of equation 1 of {@link littleIsEnough}; 0 when the liars are so few that no shift is safe. */
export function largestShift(peers: number, faulty: number): number {
  const supporters = Math.floor(peers / 2 + 1) - faulty
  return Math.max(0, normalQuantile((peers - faulty - supporters) / (peers - faulty)))
}

/** Inverse of the normal distribution (Abramowitz & Stegun 26.2.23, error below 4.5e-4); the ends are cut at 1e-9. */
export function normalQuantile(probability: number): number {
  const p = Math.min(Math.max(probability, 1e-9), 1 - 1e-9)
  const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)))
  const x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  return p < 0.5 ? -x : x
}

function rootMeanSquare(x: Float32Array): number {
  let squares = 0
  for (let i = 0; i < x.length; i++) {
    squares += x[i]! ** 2
  }
  return Math.sqrt(squares / x.length)
}

function meanInto(message: Float32Array, models: readonly Float32Array[]): void {
  for (let i = 0; i < message.length; i++) {
    let sum = 0
    for (const model of models) {
      sum += model[i]!
    }
    message[i] = sum / models.length
  }
}

function scaleBy(x: Float32Array, factor: number): void {
  for (let i = 0; i < x.length; i++) {
    x[i] = x[i]! * factor
  }
}
