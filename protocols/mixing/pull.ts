/** Whom to ask for models, and how many of those asked may be faulty: pull-based gossip with a robust rule. */
import { StarlingError } from '../errors.ts'
import type { PeerName, Random } from '../ports.ts'
import { shuffled } from '../random.ts'

/**
 * `count` different peers, drawn uniformly. The receiver draws (RPEL: El Mrini, Farhadkhani & Guerraoui 2025, "Robust and Efficient
 * Collaborative Learning", arXiv 2510.08311): who is asked is not up to a liar, and sending more does not help it.
 *
 * GRANITE (Belal, Maouche, Ben Mokhtar & Simonet-Boulogne 2025, arXiv 2504.17471) draws from all identities ever met, each counted once, because its sampling can be
 * poisoned by advertising. A view made of signed heartbeats holds every identity once already. Neither helps against many identities of one
 * attacker: admission does.
 */
export function drawPeers(peers: readonly PeerName[], count: number, random: Random): PeerName[] {
  return shuffled([...new Set(peers)].sort(), random).slice(0, count)
}

/** A swarm as its members assume it to be. */
export interface Assumption {
  /** Peers one can draw from, this one not included. */
  peers: number
  /** How many of them are faulty, at most. */
  faulty: number
  /** Probability with which one draw may hold more faulty peers than the answer says. Divide by draws and peers for a bound over a run. */
  risk: number
}

/**
 * How many of `pulled` peers to take for faulty (RPEL's effective number of adversaries, GRANITE's adaptive threshold): the smallest b such
 * that more than b come up with probability `risk` at most. The tail of the hypergeometric distribution is computed, not bounded.
 */
export function faultyAmong(pulled: number, { peers, faulty, risk }: Assumption): number {
  for (let b = 0; b < pulled; b++) {
    if (tail(pulled, b, peers, faulty) <= risk) {
      return b
    }
  }
  return pulled
}

/** The smallest pull of which, but for `risk`, at most half is faulty. Throws StarlingError 'no-majority' when asking all is not enough. */
export function pullSize(assumption: Assumption): number {
  const { peers, faulty, risk } = assumption
  // Odd sizes: an even one is no safer than the odd one below it.
  for (let size = 1; size <= peers; size += 2) {
    if (tail(size, size >> 1, peers, faulty) <= risk) {
      return size
    }
  }
  const message = `no pull from ${peers} peers of which ${faulty} are faulty has an honest majority with a risk of ${risk} or less`
  throw new StarlingError('no-majority', message, { ...assumption })
}

/** Probability that more than `bound` of `pulled` peers, drawn without replacement, are faulty. */
export function tail(pulled: number, bound: number, peers: number, faulty: number): number {
  const lowest = Math.max(bound + 1, pulled - (peers - faulty))
  const highest = Math.min(pulled, faulty)
  let sum = 0
  for (let k = lowest; k <= highest; k++) {
    const ways = logChoose(faulty, k) + logChoose(peers - faulty, pulled - k) - logChoose(peers, pulled)
    sum += Math.exp(ways)
  }
  return Math.min(1, sum)
}

function logChoose(n: number, k: number): number {
  let sum = 0
  for (let i = 1; i <= k; i++) {
    sum += Math.log((n - k + i) / i)
  }
  return sum
}
