/**
 * The addresses of this node: what libp2p's address manager holds, and who has dialled them.
 *
 * libp2p announces a public address of an interface only once AutoNAT has confirmed it, which takes peers that could not find the node without it. So
 * public addresses of interfaces are taken to be good here until others have tried them in vain.
 */
import type { CircuitRelayTransportComponents } from '@libp2p/circuit-relay-v2'
import type { Multiaddr } from '@multiformats/multiaddr'
import { isLoopback, isPrivateAddress, needsRelay } from '../addresses.ts'
import type { Forwarded } from '../router/index.ts'

/** An address that was dialled from outside is announced this long, one that is only assumed this long, milliseconds; both are looked at before. */
const CONFIRMED_TTL = 60 * 60_000
const ASSUMED_TTL = 60_000
/** Addresses that others could not dial; the oldest is forgotten for a new one. */
const MAX_DISPROVED = 32

/** Which addresses are looked at first: what connections to others were seen to come from is rarely a port that is listened on. */
const ORDER = ['announce', 'ip-mapping', 'transport']

/** What the service needs of libp2p. */
export type AddressComponents = Pick<CircuitRelayTransportComponents, 'addressManager'>
type AddressManager = AddressComponents['addressManager']

export class OwnAddresses {
  #components: AddressComponents | undefined
  /** Address to when it was found not to answer; bounded by MAX_DISPROVED. */
  readonly #disproved = new Set<string>()

  /** A service for libp2p's `services`. */
  readonly service = (components: AddressComponents): OwnAddresses => {
    // Services are made before the components are complete, so only the container is kept.
    this.#components = components
    return this
  }

  /**
   * Components for AutoNAT, whose findings are noted on their way to the address manager. It asks connected peers only: walking the DHT for others would
   * make a node of a run dial strangers. And it dials anew for whoever asks: version 1 closes what it has dialled, and libp2p would hand it the connection that
   * the question came over.
   */
  watched<Components extends object>(components: Components): Components {
    const manager = (components as unknown as AddressComponents).addressManager
    const addressManager: Partial<AddressManager> = {
      confirmObservedAddr: (address, options) => {
        this.#disproved.delete(plain(address))
        manager.confirmObservedAddr(address, options)
      },
      removeObservedAddr: (address) => {
        this.#note(address)
        manager.removeObservedAddr(address)
      },
    }
    const randomWalk = { async *walk() {} }
    const connections = (components as unknown as Pick<CircuitRelayTransportComponents, 'connectionManager'>)
      .connectionManager
    const connectionManager: Partial<typeof connections> = {
      openConnection: (peer, options) => connections.openConnection(peer, { ...options, force: true }),
    }
    return Object.create(components, {
      connectionManager: { value: Object.assign(Object.create(connections), connectionManager) },
      addressManager: { value: Object.assign(Object.create(manager), addressManager) },
      randomWalk: { value: randomWalk },
    })
  }

  /** Announces the public addresses of interfaces that nobody has found wanting. */
  assume(): void {
    for (const { multiaddr, type, verified } of this.#all()) {
      if (type !== 'transport' || verified || needsRelay(multiaddr) || this.#disproved.has(plain(multiaddr))) continue
      this.#components?.addressManager.confirmObservedAddr(multiaddr, { type: 'transport', ttl: ASSUMED_TTL })
    }
  }

  /** Addresses that others might dial this node at, whether or not they are announced: all but those of relays and of this machine alone. */
  candidates(): Multiaddr[] {
    const rank = (type: string): number => (ORDER.includes(type) ? ORDER.indexOf(type) : ORDER.length)
    const all = this.#all().sort((a, b) => rank(a.type) - rank(b.type))
    return all.map(({ multiaddr }) => multiaddr).filter((address) => !needsRelay(address) && !isLoopback(address))
  }

  /** A router has begun to forward a port; the address is announced once somebody has dialled it. */
  forwarded({ host, port, outsideHost, outsidePort }: Forwarded): void {
    this.#components?.addressManager.addPublicAddressMapping(host, port, outsideHost, outsidePort, 'tcp')
  }

  /** It does so no longer. */
  unforwarded({ host, port, outsideHost, outsidePort }: Forwarded): void {
    this.#components?.addressManager.removePublicAddressMapping(host, port, outsideHost, outsidePort, 'tcp')
  }

  /** Addresses listened on, those of relays left out. */
  listening(): Multiaddr[] {
    const own = this.#all().filter(({ type }) => type === 'transport')
    return own.map(({ multiaddr }) => multiaddr).filter((address) => !needsRelay(address))
  }

  /** Somebody outside has dialled this node there. */
  confirm(address: Multiaddr): void {
    this.#disproved.delete(plain(address))
    if (isPrivateAddress(address)) return
    const known = this.#all().some(({ multiaddr }) => plain(multiaddr) === plain(address))
    this.#components?.addressManager.confirmObservedAddr(address, {
      ttl: CONFIRMED_TTL,
      // A port of the router that leads here, for instance.
      ...(known ? {} : { type: 'observed' }),
    })
  }

  /** Others have tried in vain. */
  disprove(address: Multiaddr): void {
    this.#note(address)
    this.#components?.addressManager.removeObservedAddr(address)
  }

  #note(address: Multiaddr): void {
    const text = plain(address)
    this.#disproved.delete(text)
    this.#disproved.add(text)
    if (this.#disproved.size > MAX_DISPROVED) this.#disproved.delete(this.#disproved.keys().next().value as string)
  }

  #all(): ReturnType<AddressManager['getAddressesWithMetadata']> {
    return this.#components?.addressManager.getAddressesWithMetadata() ?? []
  }
}

/** Without the peer at its end. */
const plain = (address: Multiaddr): string => address.toString().replace(/\/p2p\/[^/]+$/, '')
