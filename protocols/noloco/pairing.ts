/** Who meets whom: a random matching that every peer computes for itself. */
import { sha256, sha256Hex } from '../hash.ts'
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
    .sort((a, b) => (isBefore(a.key, a.peer, b.key, b.peer) ? -1 : 1))
    .map(({ peer }) => peer)
}

function isBefore(key: number, peer: PeerName, otherKey: number, other: PeerName): boolean {
  return key < otherKey || (key === otherKey && peer < other)
}

/** Keys of one round by peer: the first {@link KEY_BYTES} bytes of the hash as a number. */
interface RoundKeys {
  run: string
  round: number
  keys: Map<PeerName, number>
}

/** What a number holds exactly. Two peers of one round with the same key, one case in 10^14, are in the order of their names. */
const KEY_BYTES = 6

/** Keys remembered, of all rounds: views change by a few members, and nearly all keys stay. */
const MAX_KEYS = 524_288

/** Rounds with keys, the one asked for last at the end. A key is a function of what it is found by. */
const rounds: RoundKeys[] = []
let remembered = 0

/** Gives the key of a peer in a round. */
function keysOf(run: string, round: number): (peer: PeerName) => number {
  const place = rounds.findLastIndex((known) => known.round === round && known.run === run)
  const entry = rounds[place] ?? { run, round, keys: new Map<PeerName, number>() }
  if (place !== rounds.length - 1 || place < 0) {
    if (place >= 0) {
      rounds.splice(place, 1)
    }
    rounds.push(entry)
  }
  const { keys } = entry
  return (peer) => {
    let key = keys.get(peer)
    if (key === undefined) {
      const digest = sha256(JSON.stringify(['noloco-pairing', run, round, peer]))
      key = Buffer.from(digest.buffer, digest.byteOffset, KEY_BYTES).readUIntBE(0, KEY_BYTES)
      while (remembered >= MAX_KEYS && rounds.length > 1) {
        remembered -= rounds.shift()?.keys.size ?? 0
      }
      if (remembered < MAX_KEYS) {
        keys.set(peer, key)
        remembered++
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

/**
 * The partner of `self` in a round among the peers of its view (itself included, each once); undefined when it sits out or is not among them. As in
 * {@link pairsOf}, without sorting: whoever has an even number of peers before it meets the next one, the others that before them.
 */
export function partnerOf(run: string, round: number, view: readonly PeerName[], self: PeerName): PeerName | undefined {
  const keyOf = keysOf(run, round)
  const own = keyOf(self)
  let present = false
  let before = 0
  let last: PeerName | undefined
  let lastKey = 0
  let next: PeerName | undefined
  let nextKey = 0
  for (const peer of view) {
    if (peer === self) {
      present = true
      continue
    }
    const key = keyOf(peer)
    if (isBefore(key, peer, own, self)) {
      before++
      if (last === undefined || isBefore(lastKey, last, key, peer)) {
        last = peer
        lastKey = key
      }
    } else if (next === undefined || isBefore(key, peer, nextKey, next)) {
      next = peer
      nextKey = key
    }
  }
  return present ? (before % 2 === 0 ? next : last) : undefined
}

/** The view hashed last. */
let hashed: { view: readonly PeerName[]; hash: string } | undefined

/** Whether both hold the same names in the same order. */
function sameNames(a: readonly PeerName[], b: readonly PeerName[]): boolean {
  return a === b || (a.length === b.length && a.every((name, i) => name === b[i]))
}

/** Hash of a view, to tell in a log line whether two peers saw the same members. 16 hexadecimal digits. */
export function viewHash(view: readonly PeerName[]): string {
  if (hashed === undefined || !sameNames(hashed.view, view)) {
    hashed = { view: [...view], hash: sha256Hex(JSON.stringify([...view].sort())).slice(0, 16) }
  }
  return hashed.hash
}
