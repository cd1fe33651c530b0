/** Finds out whether this node can be dialled: asks connected peers on other machines to try, and remembers what they found. */
import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, type PeerName, type Random, shuffled } from '../../../protocols/index.ts'
import { hostOf, isLoopback, isPrivateAddress, tryAddress } from '../addresses.ts'
import type { AskService } from '../ask.ts'
import { jittered } from '../back-off.ts'
import { directWith } from '../connections.ts'
import type { NetworkLog } from '../types.ts'
import { askForDialBack, MAX_DIALLED } from './dial-back.ts'
import type { OwnAddresses } from './own-addresses.ts'

/** Peers asked in one round. */
const MAX_ASKED = 3
/** Time between two rounds: while nobody has answered, after one in vain, and once it is known; milliseconds. */
const SOON = 10_000
const AGAIN = 30_000
const LATER = 10 * 60_000
/** Rounds in vain after which it is believed: a busy machine, at either end, may miss one. */
const ROUNDS = 2

export interface ProberParts {
  libp2p: Libp2p
  ask: AskService
  own: OwnAddresses
  clock: Clock
  random: Random
  log: NetworkLog
  /** Peers to ask, the best to ask first: bootstrap nodes see more of the world than peers of the same house. */
  peers(): { services: readonly PeerName[]; others: readonly PeerName[] }
  changed(): void
}

/** What others found in the last round. */
export interface Findings {
  askers: number
  reached: { address: string; private: boolean }[]
  seenAt: string[]
}

export class Prober {
  readonly #parts: ProberParts
  #findings: Findings = { askers: 0, reached: [], seenAt: [] }
  /** The addresses that the findings are about. */
  #about = ''
  #next = 0
  #running = false
  #again = false
  /** Rounds in a row in which somebody tried and nobody reached this node. */
  #inVain = 0

  constructor(parts: ProberParts) {
    this.#parts = parts
  }

  findings(): Findings {
    return this.#findings
  }

  /** There is something new to try: the next look starts a round. */
  again(): void {
    this.#again = true
  }

  /** Starts a round when it is time for one or when the addresses have changed; called every heartbeat. */
  look(): void {
    const { clock, own } = this.#parts
    if (this.#running) return
    if (this.#again) {
      this.#again = false
      this.#inVain = 0
      this.#next = 0
    }
    const about = own.listening().map(String).sort().join(' ')
    if (about !== this.#about) {
      this.#about = about
      this.#findings = { askers: 0, reached: [], seenAt: [] }
      this.#inVain = 0
      this.#next = 0
    }
    if (this.#next > clock.now() || !own.listening().some((address) => !isLoopback(address))) return
    const peers = this.#chosen()
    if (peers.length === 0) return
    this.#running = true
    void this.#round(peers)
  }

  /** Peers on other machines. */
  #chosen(): PeerName[] {
    const { libp2p, peers, random } = this.#parts
    const { services, others } = peers()
    const away = (peer: PeerName): boolean => {
      const connection = directWith(libp2p, peer)
      return connection !== undefined && !isLoopback(connection.remoteAddr)
    }
    return [...shuffled([...services], random), ...shuffled([...others], random)].filter(away).slice(0, MAX_ASKED)
  }

  async #round(peers: readonly PeerName[]): Promise<void> {
    const { clock, random, changed } = this.#parts
    const seenAt = new Set<string>()
    const reached = new Map<string, Multiaddr>()
    const tried = new Map<string, Multiaddr>()
    let askers = 0
    for (const peer of peers) {
      if (await this.#ask(peer, seenAt, tried, reached)) askers++
    }
    this.#inVain = reached.size > 0 ? 0 : this.#inVain + (askers > 0 ? 1 : 0)
    const known = reached.size > 0 || this.#inVain >= ROUNDS
    if (askers > 0 && known) {
      this.#judge(tried, reached)
      const all = [...reached.values()]
      this.#findings = {
        askers,
        reached: all.map((address) => ({ address: address.toString(), private: isPrivateAddress(address) })),
        seenAt: [...seenAt],
      }
      changed()
    }
    const pause = askers === 0 ? SOON : known ? LATER : AGAIN
    this.#next = clock.now() + jittered(pause, random)
    this.#running = false
  }

  /** Asks one peer, twice when it sees this node at a host that is none of its own: a port of the router may lead here. Resolves to whether it tried. */
  async #ask(
    peer: PeerName,
    seenAt: Set<string>,
    tried: Map<string, Multiaddr>,
    reached: Map<string, Multiaddr>,
  ): Promise<boolean> {
    const { ask, own, log } = this.#parts
    const candidates = own.candidates()
    try {
      const asked = async (addresses: readonly string[]): Promise<string> => {
        const said = await askForDialBack(ask, peer, addresses)
        seenAt.add(said.seenAt)
        const ours = new Set(addresses)
        for (const [texts, into] of [
          [said.tried, tried],
          [said.reached, reached],
        ] as const) {
          for (const text of texts) {
            const address = ours.has(text) ? tryAddress(text) : undefined
            if (address !== undefined) into.set(text, address)
          }
        }
        return said.seenAt
      }
      const near = directWith(this.#parts.libp2p, peer)
      const sameKind = candidates.filter(
        (one) => near === undefined || isPrivateAddress(one) === isPrivateAddress(near.remoteAddr),
      )
      const host = await asked(
        [...sameKind, ...candidates.filter((one) => !sameKind.includes(one))].slice(0, MAX_DIALLED).map(String),
      )
      if (!candidates.some((one) => hostOf(one) === host)) {
        const version = host.includes(':') ? 'ip6' : 'ip4'
        const moved = own.listening().map((one) => one.toString().replace(/^\/ip[46]\/[^/]+/, `/${version}/${host}`))
        await asked([...new Set(moved)].slice(0, MAX_DIALLED))
      }
      return true
    } catch (error) {
      log.debug({ peer, error: (error as Error).message }, 'a peer did not say whether this node can be dialled')
      return false
    }
  }

  #judge(tried: ReadonlyMap<string, Multiaddr>, reached: ReadonlyMap<string, Multiaddr>): void {
    const { own } = this.#parts
    for (const address of reached.values()) own.confirm(address)
    for (const [text, address] of tried) if (!reached.has(text)) own.disprove(address)
  }
}
