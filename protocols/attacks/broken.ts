/** What broken or lazy peers send, whether they mean it or not. */
import type { AttackDefinition } from './types.ts'

/** Some values are not numbers. */
export const notANumber: AttackDefinition = {
  name: 'nan',
  summary: 'sends values that are not a number',
  strength: { meaning: 'share of the values, at least one', default: 0.01, least: 0 },
  create:
    (share, { random }) =>
    (message) => {
      const count = Math.min(message.length, Math.max(1, Math.round(share * message.length)))
      for (let k = 0; k < count; k++) {
        message[random.integer(message.length)] = Number.NaN
      }
    },
}

/** The honest model, far too large. */
export const hugeNorm: AttackDefinition = {
  name: 'huge-norm',
  summary: 'multiplies its honest model',
  strength: { meaning: 'factor', default: 1e6, least: 0 },
  create: (factor) => (message) => {
    for (let i = 0; i < message.length; i++) {
      message[i] = message[i]! * factor
    }
  },
}

/** An own message of the past, as a peer sends that lags behind, and a liar that has no model to lose. */
export const staleReplay: AttackDefinition = {
  name: 'stale-replay',
  summary: 'sends a message of its own of the past again and again',
  strength: { meaning: 'rounds for which one message is sent; 0 for ever', default: 0, least: 0 },
  create: (rounds) => {
    let kept: Float32Array | undefined
    let sent = 0
    return (message) => {
      if (kept === undefined || (rounds > 0 && sent >= rounds)) {
        kept = message.slice()
        sent = 0
      }
      message.set(kept)
      sent++
    }
  },
}

/** Takes part in all exchanges and does no work: what it sends is what it got by mixing, disguised by a little noise if wanted. */
export const freeRider: AttackDefinition = {
  name: 'free-rider',
  summary: 'sends what it got from others without training on it',
  strength: {
    meaning: 'noise as disguise, relative to the difference that honest training makes',
    default: 0,
    least: 0,
  },
  create:
    (strength, { random }) =>
    (message, { before }) => {
      for (let i = 0; i < message.length; i++) {
        const trained = Math.abs(message[i]! - before[i]!)
        message[i] = before[i]! + (strength === 0 ? 0 : strength * trained * (random.uniform() < 0.5 ? -1 : 1))
      }
    },
}
