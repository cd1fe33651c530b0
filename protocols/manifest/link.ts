/** Run links: `starling://<run>?peer=<multiaddr>&peer=...&via=<multiaddr>&network=...&name=...`. Whoever has one can join. */
import { multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../errors.ts'
import { runIdFault } from './bytes.ts'
import { show } from './problems.ts'

/** What a link says. */
export interface RunLink {
  /** CID text of the run's manifest. */
  run: string
  /** Where peers of the run can be dialled, each with its peer id. None where they are found by other means: the local network, bootstrap nodes, a DHT. */
  peers: string[]
  /** Bootstrap nodes that the peers use, each with its peer id: they know who takes part now, and relay to those who cannot be dialled. */
  via?: string[]
  /** Name of the network that the peers are on. */
  network?: string
  /** For people only; what the run is really called stands in its manifest. */
  name?: string
}

/** Most addresses in a link. More make it long and help no one. */
export const MAX_LINK_PEERS = 10

/** Most bootstrap nodes in a link. */
export const MAX_LINK_VIA = 4

/** Longest link, characters. */
const MAX_LINK_LENGTH = 4096

/** Longest name in a link, characters. */
const MAX_LINK_NAME = 64

/** A network's name, in links and in the files that define networks. */
export const NETWORK_NAME = /^[a-z0-9][a-z0-9-]{0,31}$/

const SCHEME = 'starling://'

const bad = (reason: string): StarlingError => new StarlingError('bad-link', `bad run link: ${reason}`, { reason })

/** The link as text; of more than {@link MAX_LINK_PEERS} addresses, or {@link MAX_LINK_VIA} bootstrap nodes, the first ones. Throws StarlingError 'bad-link' as {@link parseLink} does. */
export function formatLink(link: RunLink): string {
  const query = link.peers.slice(0, MAX_LINK_PEERS).map((peer) => `peer=${address(peer)}`)
  for (const node of link.via?.slice(0, MAX_LINK_VIA) ?? []) query.push(`via=${address(node)}`)
  if (link.network !== undefined) {
    query.push(`network=${encodeURIComponent(link.network)}`)
  }
  if (link.name !== undefined) {
    query.push(`name=${encodeURIComponent(link.name.slice(0, MAX_LINK_NAME))}`)
  }
  const text = `${SCHEME}${link.run}${query.length === 0 ? '' : `?${query.join('&')}`}`
  parseLink(text)
  return text
}

/** Reads a link. Throws StarlingError 'bad-link' with a line that says what is wrong with it. */
export function parseLink(text: string): RunLink {
  const link = text.trim()
  if (link.length > MAX_LINK_LENGTH) {
    throw bad(`it has ${link.length} characters, more than ${MAX_LINK_LENGTH}`)
  }
  if (!link.startsWith(SCHEME)) {
    throw bad(`it must begin with ${SCHEME}, not ${show(link.slice(0, 20))}`)
  }
  const [head = '', ...tail] = link.slice(SCHEME.length).split('?')
  const run = head.replace(/\/$/, '')
  const fault = runIdFault(run)
  if (fault !== undefined) {
    throw bad(`${show(run)} does not name a run: ${fault}`)
  }
  const peers: string[] = []
  const via: string[] = []
  let network: string | undefined
  let name: string | undefined
  for (const [key, value] of new URLSearchParams(tail.join('?'))) {
    if (key === 'peer' || key === 'via') {
      ;(key === 'peer' ? peers : via).push(checkedAddress(value))
    } else if (key === 'network' && network === undefined) {
      network = checkedNetwork(value)
    } else if (key === 'name' && name === undefined) {
      name = value.slice(0, MAX_LINK_NAME)
    } else {
      throw bad(`${show(key)} has no place in it; allowed are peer, via, one network and one name`)
    }
  }
  if (peers.length > MAX_LINK_PEERS) {
    throw bad(`it names ${peers.length} peers, more than ${MAX_LINK_PEERS}`)
  }
  if (via.length > MAX_LINK_VIA) {
    throw bad(`it names ${via.length} bootstrap nodes, more than ${MAX_LINK_VIA}`)
  }
  return {
    run,
    peers,
    ...(via.length === 0 ? {} : { via }),
    ...(network === undefined ? {} : { network }),
    ...(name === undefined ? {} : { name }),
  }
}

function checkedNetwork(name: string): string {
  if (!NETWORK_NAME.test(name)) {
    throw bad(`${show(name)} is no network's name: up to 32 small letters, digits and dashes`)
  }
  return name
}

/** The address as it stands in a link: slashes stay readable, all that has a meaning in a query does not. */
const address = (text: string): string => encodeURIComponent(text).replaceAll('%2F', '/').replaceAll('%3A', ':')

function checkedAddress(text: string): string {
  let components: { name: string }[]
  try {
    components = multiaddr(text).getComponents()
  } catch {
    throw bad(`${show(text)} is not a multiaddr such as /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...`)
  }
  if (components.at(-1)?.name !== 'p2p') {
    throw bad(`${show(text)} lacks the peer's id; it must end with /p2p/12D3KooW...`)
  }
  return text
}
