/** Every scenario: what it is about, what is done, and what must be true of the facts it comes back with. */
import { move, sleep } from './away.js'
import { bootstrap } from './bootstrap.js'
import { lan } from './lan.js'
import { newcomer } from './newcomer.js'
import { partition } from './partition.js'
import { relay, slowRelay, webrtc } from './relay.js'
import { reversal, upnp } from './router.js'
import { slow } from './slow.js'

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} about one line for people
 * @property {string[]} [nats] the kinds of routers that it is run with unless one is asked for; default: the usual one
 * @property {number} limit seconds after which it has failed
 * @property {Record<string, string>} [needs] programs that not every machine has, and the Debian package that brings each
 * @property {(lab: Lab) => Promise<Record<string, unknown>>} run the facts; times in seconds
 * @property {Record<string, (facts: any) => boolean>} expected what must be true of them, by the words that say so
 *
 * @typedef {object} Lab
 * @property {ReturnType<typeof import('../topology.js').createTopology>} topology
 * @property {ReturnType<typeof import('../node.js').createCrew>} crew
 * @property {string} folder
 * @property {AbortSignal} signal
 * @property {(text: string) => void} say a line on the way
 */

/** @type {Scenario[]} */
export const scenarios = [
  lan,
  relay,
  reversal,
  webrtc,
  upnp,
  slow,
  slowRelay,
  partition,
  bootstrap,
  sleep,
  move,
  newcomer,
]
