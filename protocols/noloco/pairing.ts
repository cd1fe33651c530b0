/** Who meets whom: a random matching that every peer computes for itself. */
import { sha256Hex } from '../hash.ts'
import type { PeerName } from '../ports.ts'

/**
 * The view in the order of the round: peers sorted by SHA-256 of (run, round, peer), a uniformly random permutation that is the same
 * wherever the view is the same. Keys depend on one peer each, so that views that differ in one member still agree about the peers that
 * come before it in the order.
 */
export function roundOrder(run: string, round: number, view: readonly PeerName[]): PeerName[] {
  const keyOf = keysOf(run, round)
  return [...new Set(view)]
    .map((peer) => ({ peer, key: keyOf(peer) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.peer < b.peer ? -1 : 1))
    .map(({ peer }) => peer)
}

/** Keys of one round by peer; at most {@link MAX_KEYS}. */
interface RoundKeys {
  run: string
  round: number
  keys: Map<PeerName, string>
}

/** Rounds whose keys are remembered, and peers of each: views change by a few members, and nearly all keys stay. */
const MAX_KEY_ROUNDS = 8
const MAX_KEYS = 65_536

/** The latest rounds asked for, newest first; at most {@link MAX_KEY_ROUNDS}. A key is a function of what it is found by. */
const latestKeys: RoundKeys[] = []

/** Gives the key of a peer in a round. */
function keysOf(run: string, round: number): (peer: PeerName) => string {
  let entry = latestKeys.find((known) => known.round === round && known.run === run)
  if (entry === undefined) {
    entry = { run, round, keys: new Map() }
    latestKeys.unshift(entry)
    latestKeys.length = Math.min(latestKeys.length, MAX_KEY_ROUNDS)
  }
  const { keys } = entry
  return (peer) => {
    let key = keys.get(peer)
    if (key === undefined) {
      key = sha256Hex(JSON.stringify(['noloco-pairing', run, round, peer]))
      if (keys.size < MAX_KEYS) {
        keys.set(peer, key)
      }
    }
    return key
  }
}

/** The pairs of a round: neighbours in its order, first with second, third with fourth. The last of an odd number sits out. */
export function pairsOf(run: string, round: number, view: readonly PeerName[]): [PeerName, PeerName][] {
  const order = roundOrder(run, round, view)
  const pairs: [PeerName, PeerName][] = []
  for (let i = 0; i + 1 < order.length; i += 2) {
    pairs.push([order[i]!, order[i + 1]!])
  }
  return pairs
}

/** The partner of `self` in a round among the peers of its view (itself included); undefined when it sits out or is not among them. */
export function partnerOf(run: string, round: number, view: readonly PeerName[], self: PeerName): PeerName | undefined {
  const known = latest.find((entry) => entry.run === run && entry.round === round && sameNames(entry.view, view))
  const { partners } = known ?? remember(run, round, view)
  return partners.get(self)
}

/** Who meets whom in one round, as far as the peers of one view go. */
interface Matching {
  run: string
  round: number
  view: readonly PeerName[]
  partners: ReadonlyMap<PeerName, PeerName>
}

/** Matchings remembered: a peer asks for that of a round several times, and many peers of one process share them. */
const MAX_MATCHINGS = 8

/** The latest matchings, newest first; at most {@link MAX_MATCHINGS}. A matching is a function of what it is found by. */
const latest: Matching[] = []

function remember(run: string, round: number, view: readonly PeerName[]): Matching {
  const partners = new Map<PeerName, PeerName>()
  for (const [a, b] of pairsOf(run, round, view)) {
    partners.set(a, b).set(b, a)
  }
  const matching = { run, round, view: [...view], partners }
  latest.unshift(matching)
  latest.length = Math.min(latest.length, MAX_MATCHINGS)
  return matching
}

/** Whether both hold the same names in the same order. */
function sameNames(a: readonly PeerName[], b: readonly PeerName[]): boolean {
  return a === b || (a.length === b.length && a.every((name, i) => name === b[i]))
}

/** The view hashed last. */
let hashed: { view: readonly PeerName[]; hash: string } | undefined

/** Hash of a view, to tell in a log line whether two peers saw the same members. 16 hexadecimal digits. */
export function viewHash(view: readonly PeerName[]): string {
  if (hashed === undefined || !sameNames(hashed.view, view)) {
    hashed = { view: [...view], hash: sha256Hex(JSON.stringify([...view].sort())).slice(0, 16) }
  }
  return hashed.hash
}
