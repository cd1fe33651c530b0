/** The other bootstrap nodes of a network, as a bootstrap node knows them: dialled for ever, greeted, and named to the peers that ask. */
import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, type PeerName, type Random, StarlingError } from '../../protocols/index.ts'
import type { AskService } from './ask.ts'
import { jittered } from './back-off.ts'
import { dialFailure } from './dial-failure.ts'
import { HELLO, type Hello, hello, readHello } from './hello.ts'
import type { BootstrapStatus, NetworkLog } from './types.ts'

/** Time between two looks at each of them, milliseconds, and the whole time for one. */
const LOOK_EVERY = 20_000
const LOOK_TIMEOUT = 10_000

/** What stands for the run in the hello of a node that has none. */
export const NO_RUN = 'none'

export interface FellowsParts {
  libp2p: Libp2p
  ask: AskService
  /** Where they are. */
  addresses: readonly Multiaddr[]
  self: PeerName
  mine(): Hello
  clock: Clock
  random: Random
  log: NetworkLog
}

interface Fellow {
  address: Multiaddr
  peer?: PeerName
  /** What it said of its own addresses. */
  said: string[]
  failures: number
  error?: string
}

export class Fellows {
  readonly #parts: FellowsParts
  /** Bounded by the addresses given; without those that turn out to be this node itself, as in a file that all of them are given. */
  #fellows: Fellow[]
  readonly #closing = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(parts: FellowsParts) {
    this.#parts = parts
    this.#fellows = parts.addresses.map((address) => ({ address, said: [], failures: 0 }))
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** Those that are connected, with the addresses that they say. */
  connected(): { peer: PeerName; addresses: string[] }[] {
    return this.#fellows.flatMap(({ peer, said }) =>
      peer !== undefined && said.length > 0 && this.#isConnected(peer) ? [{ peer, addresses: said }] : [],
    )
  }

  status(): BootstrapStatus[] {
    return this.#fellows.map(({ address, peer, failures, error }) => ({
      address: address.toString(),
      connected: peer !== undefined && this.#isConnected(peer),
      failures,
      ...(peer === undefined ? {} : { peer }),
      ...(error === undefined ? {} : { error }),
    }))
  }

  #isConnected(peer: PeerName): boolean {
    return this.#parts.libp2p.getConnections().some((one) => one.remotePeer.toString() === peer)
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#parts
    const { signal } = this.#closing
    while (!signal.aborted && this.#fellows.length > 0) {
      await Promise.all(this.#fellows.map((fellow) => this.#look(fellow)))
      // Only the signal ends the wait early, and then the loop ends.
      await clock.sleep(jittered(LOOK_EVERY, random), signal).catch(() => {})
    }
  }

  /** Dials it if need be, and says hello. */
  async #look(fellow: Fellow): Promise<void> {
    const { libp2p, ask, self, mine, log } = this.#parts
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LOOK_TIMEOUT)])
    const own = libp2p.getMultiaddrs().map((one) => one.toString().replace(/\/p2p\/[^/]+$/, ''))
    if (own.includes(fellow.address.toString())) {
      this.#fellows = this.#fellows.filter((one) => one !== fellow)
      return
    }
    try {
      const { remotePeer } = await libp2p.dial(fellow.address, { signal })
      const peer = remotePeer.toString()
      const options = { timeout: LOOK_TIMEOUT, signal: this.#closing.signal }
      const answer = readHello(await ask.ask(peer, HELLO, hello.encode(mine()), options), peer, self)
      if (answer.role !== 'bootstrap') throw new StarlingError('other-run', `${peer} is no bootstrap node`)
      if (fellow.peer !== peer) log.info({ peer, address: fellow.address.toString() }, 'met another bootstrap node')
      Object.assign(fellow, { peer, said: answer.addresses, failures: 0 })
      delete fellow.error
    } catch (error) {
      if (this.#closing.signal.aborted) return
      fellow.failures++
      fellow.error = dialFailure(error)
      if (fellow.failures > 1) return
      const address = fellow.address.toString()
      log.warn({ address, error: fellow.error }, 'another bootstrap node cannot be reached; it is tried again')
    }
  }
}
