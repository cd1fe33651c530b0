/** Puts in words whether others can dial a node, why not, and what to do. */
import type { RouterReport } from '../router/index.ts'
import type { Reachability } from '../types.ts'

/** What is known of it. */
export interface ReachabilityFacts {
  /** Addresses listened on, this machine's own loopback among them. */
  listening: { address: string; port: string | undefined; loopback: boolean; private: boolean }[]
  /** All addresses told to others. */
  addresses: string[]
  relays: string[]
  /** Others that have tried to dial this node. */
  askers: number
  /** Addresses at which it answered them. */
  reached: { address: string; private: boolean }[]
  /** Hosts at which others see it. */
  seenAt: string[]
  /** Whether relays are asked for. */
  relay: boolean
  /** What came of asking the router to forward a port, if it was asked. */
  router: RouterReport | undefined
}

export function reportReachability(facts: ReachabilityFacts): Reachability {
  const { listening, addresses, relays } = facts
  const told = { addresses, relays }
  const outward = listening.filter(({ loopback }) => !loopback)
  if (listening.length === 0) {
    const advice = `start it with --listen /ip4/0.0.0.0/tcp/7400${relays.length > 0 ? '; until then a relay carries its connections' : ''}`
    return { state: 'private', ...told, reason: 'it listens on no address', advice }
  }
  if (outward.length === 0) {
    const advice = 'for other machines, start it without --local and without a --listen of 127.0.0.1'
    return { state: 'local', ...told, reason: 'it listens on this machine only', advice }
  }
  if (facts.reached.some((one) => !one.private)) return { state: 'reachable', ...told }
  if (facts.reached.length > 0) {
    return { state: 'reachable', ...told, reason: 'peers in its own network have dialled it; nobody outside has tried' }
  }
  if (facts.askers === 0) return { state: 'unknown', ...told, reason: 'no peer on another machine has tried yet' }
  return { state: 'private', ...told, ...whyPrivate(facts, outward) }
}

function whyPrivate(
  { seenAt, relays, relay, router }: ReachabilityFacts,
  outward: ReachabilityFacts['listening'],
): { reason: string; advice: string } {
  const own = new Set(outward.map(({ address }) => address.split('/')[2]))
  const outside = seenAt.find((host) => !own.has(host))
  const port = outward.find((one) => one.port !== undefined)?.port ?? '7400'
  const until =
    relays.length > 0
      ? 'until then a relay carries its connections'
      : relay
        ? 'no bootstrap node or peer offers a relay meanwhile; --bootstrap names one'
        : '--no-relay keeps it from using relays meanwhile'
  if (outside === undefined) {
    return {
      reason: 'others dialled its addresses in vain: a firewall stands between',
      advice: `open TCP port ${port} on this machine and in its network; ${until}`,
    }
  }
  const version = outside.includes(':') ? 'ip6' : 'ip4'
  const own4 = outward.find(({ address }) => address.startsWith('/ip4/'))?.address.split('/')[2]
  const forward = `forward TCP port ${port} of the router to ${own4 ?? 'this machine'} and start with --listen /ip4/0.0.0.0/tcp/${port} --announce /${version}/${outside}/tcp/${port}`
  return {
    reason: `others see it at ${outside}, which is none of its own addresses, and nobody answers there: a router translates addresses (NAT)`,
    advice: `${forward}${helped(router)}; ${until}`,
  }
}

/** What --upnp has come to. */
function helped(router: RouterReport | undefined): string {
  if (router === undefined) return ', or try --upnp'
  if (router.problem !== undefined) return ` (--upnp does not help: ${router.problem})`
  const [port] = router.forwarded
  if (port === undefined) return ''
  return ` (--upnp: the router says that it forwards ${port.outsideHost}:${port.outsidePort}; another one stands before it, or a firewall)`
}
