/**
 * Keeps the ports that this node listens on forwarded by its router, while it runs.
 *
 * What a router promises is no proof that anybody can dial the address: others try it first (see `reachability/prober.ts`). IPv6 needs no forwarding, and
 * the holes in its firewalls are not asked for.
 */
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, type Random, StarlingError } from '../../../protocols/index.ts'
import { hostOf, isLoopback, isPrivateAddress, parseAddress } from '../addresses.ts'
import { backOff, jittered } from '../back-off.ts'
import type { NetworkLog } from '../types.ts'
import { type FoundRouter, findRouter } from './find.ts'
import type { Router } from './types.ts'

/** Life of a forwarded port, seconds: a node that was killed leaves nothing behind for long. */
const LEASE = 3_600
/** How often the router is asked again, milliseconds: the lease goes on, a new address is noticed, and a router that was restarted has forgotten everything. */
const REFRESH = 2 * 60_000
/** Pause after nothing came of it, doubled each time, and the longest, milliseconds. */
const PAUSE = 30_000
const MAX_PAUSE = 10 * 60_000
/** Whole time for one round, and for giving the ports back, milliseconds. */
const ROUND_TIMEOUT = 15_000
const STOP_TIMEOUT = 2_000
/** Ports forwarded. */
const MAX_PORTS = 4

/** A port that the router forwards to this machine. */
export interface Forwarded {
  host: string
  port: number
  outsideHost: string
  outsidePort: number
}

/** What is known of the router: ports that it forwards, and what is in the way. */
export interface RouterReport {
  forwarded: readonly Forwarded[]
  problem: string | undefined
}

export interface PortForwardingParts {
  clock: Clock
  random: Random
  log: NetworkLog
  /** Addresses listened on. */
  listening(): Multiaddr[]
  /** The router has begun to forward, or has stopped. */
  began(port: Forwarded): void
  ended(port: Forwarded): void
  find?(signal: AbortSignal): Promise<FoundRouter>
  signal: AbortSignal
}

export class PortForwarding {
  readonly #parts: PortForwardingParts
  #router: Router | undefined
  /** At most {@link MAX_PORTS}. */
  #forwarded: Forwarded[] = []
  #problem: string | undefined
  #failures = 0
  #next = 0
  #moved = false
  #running: Promise<void> | undefined

  constructor(parts: PortForwardingParts) {
    this.#parts = parts
  }

  report(): RouterReport {
    return { forwarded: this.#forwarded, problem: this.#problem }
  }

  /** Asks the router when it is time; called every heartbeat. */
  look(): void {
    const { clock, signal } = this.#parts
    if (this.#running !== undefined || signal.aborted || clock.now() < this.#next) return
    this.#running = this.#round().finally(() => {
      this.#running = undefined
      if (this.#moved) this.#next = 0
    })
  }

  /** This machine may be behind another router now. */
  moved(): void {
    this.#moved = true
    this.#next = 0
  }

  /** Gives the ports back. */
  async stop(): Promise<void> {
    await this.#running
    const signal = AbortSignal.timeout(STOP_TIMEOUT)
    for (const port of this.#forwarded) await this.#unmap(this.#router, port, signal)
    this.#forwarded = []
    this.#router?.close()
  }

  /** Never rejects. */
  async #round(): Promise<void> {
    const { clock, random, log, find = findRouter, signal } = this.#parts
    const stop = AbortSignal.any([signal, AbortSignal.timeout(ROUND_TIMEOUT)])
    if (this.#moved) this.#forget()
    this.#moved = false
    try {
      const known = this.#router
      const { router, externalHost } =
        known === undefined ? await find(stop) : { router: known, externalHost: await known.externalHost(stop) }
      this.#router = router
      if (isPrivateAddress(parseAddress(`/ip4/${externalHost}`))) {
        const message = `the router at ${router.host} has no public address itself (${externalHost}): another router stands before it`
        throw new StarlingError('router-refused', message, { router: router.host })
      }
      await this.#forward(router, externalHost, stop)
      this.#problem = undefined
      this.#failures = 0
      this.#next = clock.now() + jittered(REFRESH, random)
    } catch (error) {
      if (signal.aborted) return
      const { message, code } = error as StarlingError
      // Once, not with every round.
      if (message !== this.#problem) log.warn({ error: message }, 'the router forwards no port to this node')
      this.#problem = message
      this.#failures++
      // A router that was silent once may have been busy.
      if (this.#failures > 1 || code === 'router-refused') this.#forget()
      this.#next = clock.now() + backOff(this.#failures, PAUSE, MAX_PAUSE, random)
    }
  }

  /** Has all ports that are listened on forwarded, and no others. */
  async #forward(router: Router, outsideHost: string, signal: AbortSignal): Promise<void> {
    const { began, ended, log } = this.#parts
    const wanted = this.#wanted(router)
    const before = this.#forwarded
    for (const gone of before.filter(({ port }) => !wanted.includes(port))) {
      await this.#unmap(router, gone, signal)
      this.#forwarded = this.#forwarded.filter((one) => one !== gone)
      ended(gone)
    }
    for (const port of wanted) {
      const old = this.#forwarded.find((one) => one.port === port)
      const outsidePort = await router.map(port, old?.outsidePort ?? port, LEASE, signal)
      if (old?.outsideHost === outsideHost && old.outsidePort === outsidePort) continue
      const one = { host: router.localHost, port, outsideHost, outsidePort }
      this.#forwarded = [...this.#forwarded.filter((other) => other !== old), one]
      if (old !== undefined) ended(old)
      began(one)
      log.info({ ...one, protocol: router.protocol }, 'the router forwards a port to this node')
    }
  }

  /** Ports listened on at the address of this machine that the router sees. */
  #wanted(router: Router): number[] {
    const ports = this.#parts
      .listening()
      .filter((address) => hostOf(address) === router.localHost && !isLoopback(address))
      .map((address) => Number(address.getComponents().find(({ name }) => name === 'tcp')?.value))
    return [...new Set(ports)].filter((port) => port > 0).slice(0, MAX_PORTS)
  }

  async #unmap(router: Router | undefined, port: Forwarded, signal: AbortSignal): Promise<void> {
    try {
      await router?.unmap(port.port, port.outsidePort, signal)
    } catch (error) {
      // It ends by itself within the hour.
      this.#parts.log.debug({ ...port, error: (error as Error).message }, 'the router did not end the forwarding')
    }
  }

  #forget(): void {
    this.#router?.close()
    this.#router = undefined
    const before = this.#forwarded
    this.#forwarded = []
    for (const one of before) this.#parts.ended(one)
  }
}
