/** Dials: a bounded number at once, direct addresses before those of relays, and what failed in words. */
import type { Connection, Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type PeerName, StarlingError } from '../../protocols/index.ts'
import { introductionOf, isRelayed } from './addresses.ts'
import type { Counters } from './counters.ts'
import { dialFailure } from './dial-failure.ts'
import type { NetworkLog } from './types.ts'

/** Whole time for one dial, milliseconds: TCP and two handshakes over a bad line. */
export const DIAL_TIMEOUT = 10_000
/** Time for the direct addresses of a peer that can be reached through a relay too, milliseconds: the rest of a dial's time is the relay's. */
const DIRECT_TIMEOUT = 4_000
const MAX_PARALLEL_DIALS = 8

export interface DiallerParts {
  libp2p: Libp2p
  counters: Counters
  log: NetworkLog
  signal: AbortSignal
}

export class Dialler {
  readonly #parts: DiallerParts
  /** What is being dialled: peers and bootstrap addresses. Bounded by MAX_PARALLEL_DIALS, and what others want to ask. */
  readonly #dialling = new Set<string>()

  constructor(parts: DiallerParts) {
    this.#parts = parts
  }

  /** Dials under way. */
  get size(): number {
    return this.#dialling.size
  }

  has(key: string): boolean {
    return this.#dialling.has(key)
  }

  /** Whether one more may be begun for the peer manager's own sake. */
  mayBegin(key: string): boolean {
    return !this.#dialling.has(key) && this.#dialling.size < MAX_PARALLEL_DIALS
  }

  /** Resolves to who answered at one of the addresses, undefined if nobody did; never rejects. `key` names the dial in {@link has} and in the log. */
  async attempt(
    key: string,
    addresses: readonly Multiaddr[],
    failed: (why: string) => void = () => {},
  ): Promise<PeerName | undefined> {
    const { counters, log } = this.#parts
    this.#dialling.add(key)
    counters.dials++
    try {
      return (await this.#inTurn(key, addresses)).remotePeer.toString()
    } catch (error) {
      counters.dialFailures++
      failed(dialFailure(error))
      log.debug({ to: key, error: (error as Error).message }, 'a dial failed')
      return undefined
    } finally {
      this.#dialling.delete(key)
    }
  }

  async #inTurn(key: string, addresses: readonly Multiaddr[]): Promise<Connection> {
    const { libp2p, log, signal } = this.#parts
    const whole = AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT)])
    // WebRTC is for Upgrades alone: it takes longer than a dial may, fails for good where routers do not let it through, and is tried there ever less often.
    const dialled = [...new Map(addresses.map(introductionOf).map((address) => [address.toString(), address])).values()]
    const relayed = dialled.filter(isRelayed)
    const direct = dialled.filter((address) => !isRelayed(address))
    if (relayed.length === 0 || direct.length === 0) return libp2p.dial(dialled, { signal: whole })
    try {
      return await libp2p.dial(direct, { signal: AbortSignal.any([whole, AbortSignal.timeout(DIRECT_TIMEOUT)]) })
    } catch (error) {
      log.debug({ to: key, error: (error as Error).message }, 'no direct connection; a relay is tried')
    }
    return libp2p.dial(relayed, { signal: whole })
  }

  /** Dials an address that somebody named. Throws 'peer-unreachable' or 'aborted'. */
  async dial(address: Multiaddr, signal?: AbortSignal): Promise<PeerName> {
    const { libp2p, counters } = this.#parts
    const signals = [this.#parts.signal, AbortSignal.timeout(DIAL_TIMEOUT), ...(signal === undefined ? [] : [signal])]
    const text = address.toString()
    counters.dials++
    try {
      return (await libp2p.dial(address, { signal: AbortSignal.any(signals) })).remotePeer.toString()
    } catch (error) {
      counters.dialFailures++
      if (signal?.aborted)
        throw new StarlingError('aborted', 'the dial was given up', { address: text }, { cause: error })
      const message = `nobody answers at ${text}: ${(error as Error).message}`
      throw new StarlingError('peer-unreachable', message, { address: text }, { cause: error })
    }
  }
}
