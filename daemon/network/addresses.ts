/** Multiaddrs: reading them, naming the peer at their end, and telling private ones. */
import { isPrivate } from '@libp2p/utils'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type PeerName, StarlingError } from '../../protocols/index.ts'
import type { LinkKind } from './types.ts'

const HOSTS = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6', 'dnsaddr'])

/** Reads a multiaddr. Throws 'bad-address' with an example. */
export function parseAddress(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (error) {
    const message = `'${text}' is no multiaddr: write e.g. /ip4/192.0.2.7/tcp/7400 or /dns4/host.example/tcp/7400/p2p/12D3...`
    throw new StarlingError('bad-address', message, { address: text }, { cause: error })
  }
}

/** The multiaddr, or undefined for what is none: for addresses that others sent. */
export function tryAddress(text: string): Multiaddr | undefined {
  try {
    return multiaddr(text)
  } catch {
    // Others' addresses may be anything; what cannot be read cannot be dialled.
    return undefined
  }
}

/** The peer an address ends at, if it says so; the relay in the middle of an address is not meant. */
export function peerOf(address: Multiaddr): PeerName | undefined {
  const parts = address.getComponents()
  const relay = parts.findLastIndex((part) => part.name === 'p2p-circuit')
  return parts.slice(relay + 1).findLast((part) => part.name === 'p2p')?.value
}

/** True for addresses at which all bytes go through a relay. */
export function isRelayed(address: Multiaddr): boolean {
  return linkKind(address) === 'relay'
}

/** The address with the peer's id at its end, so that nobody else can answer there. */
export function withPeer(address: Multiaddr, peer: PeerName): Multiaddr {
  return peerOf(address) === undefined ? address.encapsulate(`/p2p/${peer}`) : address
}

/** True for addresses of this machine or of a private network. Names are taken to be public. */
export function isPrivateAddress(address: Multiaddr): boolean {
  try {
    return isPrivate(address)
  } catch {
    // Not an address by number.
    return false
  }
}

/** How bytes go over a connection with that address at its other end. */
export function linkKind(address: Multiaddr): LinkKind {
  const names = new Set(address.getComponents().map(({ name }) => name))
  // WebRTC is arranged over a relay, whose address it keeps, and goes straight to the peer.
  if (names.has('webrtc') || names.has('webrtc-direct')) return 'webrtc'
  if (names.has('p2p-circuit')) return 'relay'
  return names.has('ws') || names.has('wss') ? 'websocket' : 'direct'
}

/** True for addresses that lead through a relay, if only to arrange a connection that then goes straight (WebRTC). */
export function needsRelay(address: Multiaddr): boolean {
  return address.getComponents().some(({ name }) => name === 'p2p-circuit')
}

/** The relayed address over which a WebRTC connection is introduced; any other address as it is. */
export function introductionOf(address: Multiaddr): Multiaddr {
  if (linkKind(address) !== 'webrtc' || !needsRelay(address)) return address
  return multiaddr(address.getComponents().filter(({ name }) => name !== 'webrtc'))
}

/** The host of an address as written: an IP number or a name; of a relayed one the relay's. */
export function hostOf(address: Multiaddr): string | undefined {
  return address.getComponents().find(({ name }) => HOSTS.has(name))?.value
}

/** True for addresses of this very machine. */
export function isLoopback(address: Multiaddr): boolean {
  const host = hostOf(address)
  return host !== undefined && (/^127\./.test(host) || host === '::1')
}

/** Addresses of one relay that are told to others: more would leave no room for the node's own. */
const MAX_PER_RELAY = 2

/**
 * A node's own addresses as others should have them, who take only the first few: public ones, those through relays, those of its network, and those of
 * this machine only where there are no others.
 */
export function announced(all: readonly Multiaddr[]): string[] {
  const outside = all.filter((address) => !isLoopback(address))
  const rank = (address: Multiaddr): number => (needsRelay(address) ? 1 : isPrivateAddress(address) ? 2 : 0)
  const perRelay = new Map<string, number>()
  const chosen = [...(outside.length > 0 ? outside : all)].sort((a, b) => rank(a) - rank(b))
  return chosen.map(String).filter((text) => {
    const relay = /\/p2p\/([^/]+)\/p2p-circuit/.exec(text)?.[1]
    if (relay === undefined) return true
    const kind = `${relay} ${text.includes('/webrtc')}`
    const count = (perRelay.get(kind) ?? 0) + 1
    perRelay.set(kind, count)
    return count <= MAX_PER_RELAY
  })
}
