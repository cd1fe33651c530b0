/**
 * Connects with a peer because somebody wants to ask it something. In a large swarm a peer is connected with some of the others only; where the rest
 * can be found stands in the address book, or a connected peer knows it.
 */
import type { Multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'
import {
  type Clock,
  defineMessage,
  type PeerName,
  type Random,
  type StarlingError,
  shuffled,
} from '../../protocols/index.ts'
import type { AskService } from './ask.ts'
import { MAX_ADDRESS_LENGTH, MAX_ADDRESSES } from './hello.ts'
import type { Introductions } from './introductions.ts'
import { unreachable } from './lane.ts'

/** Asks where a peer can be found. */
export const LOCATE = 'network/locate'

/** Connected peers asked for one address, and the time they have, milliseconds. */
const MAX_LOCATORS = 3
const LOCATE_TIMEOUT = 3_000
/** Peers being reached at once. */
export const MAX_REACHING = 16
/** A peer that was not found is not looked for again so soon, milliseconds, whoever wants to ask it. */
const PAUSE = 2_000
/** Peers not found that are remembered; the oldest goes first. */
const MAX_PAUSED = 256

const locateQuestion = defineMessage<{ peer: PeerName }>(
  'locate',
  z.strictObject({ peer: z.string().min(8).max(128) }),
  { maxBytes: 256, maxItems: 4 },
)
const locateAnswer = defineMessage<{ addresses: string[] }>(
  'locate-answer',
  z.strictObject({ addresses: z.array(z.string().min(1).max(MAX_ADDRESS_LENGTH)).max(MAX_ADDRESSES) }),
  { maxBytes: 4 * 1024, maxItems: 32 },
)

export interface ReachParts {
  self: PeerName
  ask: AskService
  introductions: Introductions
  clock: Clock
  random: Random
  /** Addresses to tell others of a peer, this one included. */
  addressesOf(peer: PeerName): string[]
  /** Those in the address book; others' claims, checked in the same way. */
  known(peer: PeerName): Multiaddr[]
  usable(peer: PeerName, addresses: readonly string[]): Multiaddr[]
  isConnected(peer: PeerName): boolean
  /** Resolves to whether the peer answered at one of the addresses. */
  dial(peer: PeerName, addresses: Multiaddr[]): Promise<boolean>
}

export class Reach {
  readonly #parts: ReachParts
  /** Bounded by MAX_REACHING. */
  readonly #running = new Map<PeerName, Promise<void>>()
  /** Until when a peer is not looked for; bounded by MAX_PAUSED. */
  readonly #paused = new Map<PeerName, number>()

  constructor(parts: ReachParts) {
    this.#parts = parts
    parts.ask.answer(LOCATE, (_from, question) => {
      const { peer } = locateQuestion.decode(question)
      return locateAnswer.encode({ addresses: parts.addressesOf(peer) })
    })
  }

  /** Resolves when the peer is connected and has introduced itself. Throws 'peer-unreachable'; ends within two dials and one question. */
  to(peer: PeerName): Promise<void> {
    const running = this.#running.get(peer)
    if (running !== undefined) return running
    const { clock, self } = this.#parts
    if (peer === self) return Promise.reject(unreachable('it is this peer itself'))
    if ((this.#paused.get(peer) ?? 0) > clock.now()) return Promise.reject(unreachable('it was not found a moment ago'))
    if (this.#running.size >= MAX_REACHING) return Promise.reject(unreachable('too many others are being dialled'))
    const reaching = this.#find(peer)
      .catch((error) => {
        this.#pause(peer)
        throw error
      })
      .finally(() => this.#running.delete(peer))
    this.#running.set(peer, reaching)
    return reaching
  }

  async #find(peer: PeerName): Promise<void> {
    const { known, introductions } = this.#parts
    const first = known(peer)
    if (!(await this.#dial(peer, first))) {
      const tried = new Set(first.map(String))
      const second = (await this.#locate(peer)).filter((address) => !tried.has(address.toString()))
      if (!(await this.#dial(peer, second))) {
        throw unreachable(first.length + second.length === 0 ? 'nobody knows its address' : 'it does not answer')
      }
    }
    try {
      await introductions.done(peer)
    } catch (error) {
      throw unreachable((error as StarlingError).message, error)
    }
  }

  /** Whether the peer is connected after dialling it; it may have dialled this one meanwhile. */
  async #dial(peer: PeerName, addresses: Multiaddr[]): Promise<boolean> {
    const { dial, isConnected } = this.#parts
    return (addresses.length > 0 && (await dial(peer, addresses))) || isConnected(peer)
  }

  /** Where some connected peers say that the peer can be found. */
  async #locate(peer: PeerName): Promise<Multiaddr[]> {
    const { ask, introductions, random, usable } = this.#parts
    const question = locateQuestion.encode({ peer })
    const asked = shuffled([...introductions.peers()], random).slice(0, MAX_LOCATORS)
    // Who does not answer, or says what nobody can dial, is of no help and does no harm.
    const answers = await Promise.allSettled(
      asked.map(async (one) => {
        const answer = await ask.ask(one, LOCATE, question, { timeout: LOCATE_TIMEOUT })
        return usable(peer, locateAnswer.decode(answer).addresses)
      }),
    )
    const found = answers.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
    return [...new Map(found.map((address) => [address.toString(), address])).values()].slice(0, MAX_ADDRESSES)
  }

  #pause(peer: PeerName): void {
    this.#paused.delete(peer)
    this.#paused.set(peer, this.#parts.clock.now() + PAUSE)
    if (this.#paused.size > MAX_PAUSED) this.#paused.delete(this.#paused.keys().next().value as PeerName)
  }
}
