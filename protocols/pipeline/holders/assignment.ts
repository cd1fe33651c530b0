/**
 * Who is to hold what: a pure function of what a peer sees, the same at every peer that sees the same. Nobody decides for others; whoever finds itself
 * first in line acts. Part 0 are the ends (the role of a data peer), parts 1 to S the stages.
 */
import { sha256Hex } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'
import type { HoldState } from './messages.ts'

/** What the run wants. */
export interface Wanted {
  /** Name of the run, for the order among equals. */
  run: string
  stages: number
  dataPeers: number
  /** Holders of each stage, where there are enough peers. */
  replicas: number
}

/** A peer as the assignment sees it. */
export interface PeerRoles {
  peer: PeerName
  /** Stages that it has room for, those that it holds included. The ends need none. */
  places: number
  holds: readonly { part: number; state: HoldState; step: number }[]
  /** Time of a row, ms; undefined where it is not known. */
  msPerRow?: number | undefined
  /** Parts that it has from an earlier process, and their steps. */
  kept?: readonly { part: number; step: number }[]
  /** Parts that it must not take now: it has them, and those who need them cannot use it. */
  barred?: readonly number[]
}

/** A part that somebody has to take. */
export interface Take {
  part: number
  /** Who takes it, and who does if those before do not. */
  line: readonly PeerName[]
}

/** A stage that goes from a peer with several to one with room. */
export interface Move {
  stage: number
  from: PeerName
  to: PeerName
}

/** A part with more holders than wanted. */
export interface Leave {
  part: number
  peer: PeerName
  /** Who stays. */
  stays: readonly PeerName[]
}

export interface Assignment {
  takes: readonly Take[]
  moves: readonly Move[]
  leaves: readonly Leave[]
  /** Parts without a holder for which nobody has room. */
  missing: readonly number[]
}

/** Holders of one part that are so many steps behind the first of them are the ones to leave: they were cut off, and trained with others or not at all. */
const BEHIND = 10

/** Roles of a peer, and what changes as roles are dealt. */
interface Load {
  peer: PeerName
  places: number
  /** Parts by the place they take up; those being given away count until they are gone. */
  parts: Set<number>
  /** Roles that it has or is about to have: stages and ends. */
  roles: number
  pace: number
  kept: ReadonlyMap<number, number>
  barred: ReadonlySet<number>
}

/**
 * The whole assignment. Roles are wanted in this order: data peers, each stage once, then replicas. A role without a holder goes to the peer with the
 * fewest roles, but first to one that kept the part from an earlier process; among those to the faster one, in powers of two; then by hash of (run, role, peer). What is held stays where it is, but that the peer with the most roles gives a
 * stage to one that has at least two roles less, while no role is vacant or under way. Replicas go to peers without any role only.
 */
export function assign(wanted: Wanted, peers: readonly PeerRoles[]): Assignment {
  const sorted = [...peers].sort((a, b) => (a.peer < b.peer ? -1 : 1))
  const loads = sorted.map(loadOf)
  const counts = countHolders(wanted, sorted)
  const takes: Take[] = []
  const missing: number[] = []

  const deal = (part: number, eligible: (load: Load) => boolean): boolean => {
    const line = inLine(
      wanted.run,
      part,
      loads.filter((load) => hasRoom(load, part) && eligible(load)),
    )
    const first = line[0]
    if (first === undefined) {
      return false
    }
    first.parts.add(part)
    first.roles++
    takes.push({ part, line: line.map(({ peer }) => peer) })
    return true
  }

  for (const part of baseRoles(wanted)) {
    const left = counts.get(part) ?? 0
    if (left > 0) {
      counts.set(part, left - 1)
    } else if (!deal(part, () => true)) {
      missing.push(part)
    }
  }
  const calm =
    takes.length === 0 &&
    missing.length === 0 &&
    sorted.every(({ holds }) => holds.every(({ state }) => state === 'ready'))
  const moves = calm ? planMoves(wanted.run, loads) : []
  if (takes.length === 0 && missing.length === 0) {
    for (let replica = 2; replica <= wanted.replicas; replica++) {
      for (let stage = 1; stage <= wanted.stages; stage++) {
        const left = counts.get(stage) ?? 0
        if (left > 0) {
          counts.set(stage, left - 1)
        } else {
          deal(stage, ({ roles }) => roles === 0)
        }
      }
    }
  }
  return { takes, moves, leaves: planLeaves(wanted, sorted), missing }
}

/** Every role that a run needs, in the order in which they are dealt. */
function baseRoles({ stages, dataPeers }: Wanted): number[] {
  return [...Array.from({ length: dataPeers }, () => 0), ...Array.from({ length: stages }, (_, index) => index + 1)]
}

function loadOf({ peer, places, holds, msPerRow, kept = [], barred }: PeerRoles): Load {
  return {
    peer,
    places,
    parts: new Set(holds.map(({ part }) => part)),
    roles: holds.filter(({ state }) => state !== 'leaving').length,
    // In powers of two: what is measured changes all the time, and an order that changes with it would not be the same everywhere.
    pace: msPerRow === undefined || msPerRow <= 0 ? 0 : Math.round(Math.log2(msPerRow)),
    kept: new Map(kept.map(({ part, step }) => [part, step])),
    barred: new Set(barred),
  }
}

function countHolders(wanted: Wanted, peers: readonly PeerRoles[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { holds, barred = [] } of peers) {
    for (const { part, state } of holds) {
      if (state !== 'leaving' && part <= wanted.stages && !barred.includes(part)) {
        counts.set(part, (counts.get(part) ?? 0) + 1)
      }
    }
  }
  return counts
}

function hasRoom({ parts, places, barred }: Load, part: number): boolean {
  if (parts.has(part) || barred.has(part)) {
    return false
  }
  const stages = parts.size - (parts.has(0) ? 1 : 0)
  return part === 0 || stages < places
}

/** Step of the part that a peer kept; -1 where it kept none. */
const keptStep = ({ kept }: Load, part: number): number => kept.get(part) ?? -1

function inLine(run: string, part: number, loads: readonly Load[]): Load[] {
  return loads
    .map((load) => ({ load, key: sha256Hex(JSON.stringify(['pipeline-role', run, part, load.peer])) }))
    .sort(
      (a, b) =>
        keptStep(b.load, part) - keptStep(a.load, part) ||
        a.load.roles - b.load.roles ||
        a.load.pace - b.load.pace ||
        (a.key < b.key ? -1 : 1),
    )
    .map(({ load }) => load)
}

/** Evens out the roles: from the peer with the most to the one with the fewest, as long as they are two apart. Each peer is in one move at a time. */
function planMoves(run: string, loads: readonly Load[]): Move[] {
  const moves: Move[] = []
  const busy = new Set<PeerName>()
  for (;;) {
    const free = loads.filter(({ peer }) => !busy.has(peer))
    const givers = inLine(
      run,
      0,
      free.filter(({ parts }) => [...parts].some((part) => part > 0)),
    )
    const from = givers.reduce<Load | undefined>(
      (most, load) => (most === undefined || load.roles > most.roles ? load : most),
      undefined,
    )
    if (from === undefined) {
      return moves
    }
    const stages = [...from.parts].filter((part) => part > 0).sort((a, b) => b - a)
    const stage = stages[0]!
    const to = inLine(
      run,
      stage,
      free.filter((load) => load !== from && hasRoom(load, stage) && load.roles <= from.roles - 2),
    )[0]
    if (to === undefined) {
      return moves
    }
    moves.push({ stage, from: from.peer, to: to.peer })
    busy.add(from.peer).add(to.peer)
  }
}

/** The highest step that two peers claim, or, where only one has any, its own: what a single one says of itself makes nobody else old. */
function newestStep(peers: readonly PeerRoles[]): number {
  const steps = peers.map(({ holds }) => Math.max(0, ...holds.map(({ step }) => step))).sort((a, b) => b - a)
  return steps[1] ?? steps[0] ?? 0
}

/** Who is too many: those far behind first, then those with the most roles, then by hash. */
function planLeaves(wanted: Wanted, peers: readonly PeerRoles[]): Leave[] {
  const leaves: Leave[] = []
  const newest = newestStep(peers)
  for (let part = 0; part <= wanted.stages; part++) {
    const room = part === 0 ? wanted.dataPeers : wanted.replicas
    const holders = peers.flatMap((each) => {
      const held = each.holds.find((hold) => hold.part === part && hold.state === 'ready')
      return held === undefined || each.barred?.includes(part) === true ? [] : [{ ...each, step: held.step }]
    })
    if (holders.length > room) {
      const order = holders
        .map((each) => ({
          peer: each.peer,
          // Data peers that drive the same stages fall behind one another, and the one that falls behind is one too many.
          behind: part === 0 ? -Math.min(each.step, newest) : newest - each.step > BEHIND ? 1 : 0,
          roles: each.holds.filter(({ state }) => state !== 'leaving').length,
          key: sha256Hex(JSON.stringify(['pipeline-role', wanted.run, part, each.peer])),
        }))
        .sort((a, b) => a.behind - b.behind || a.roles - b.roles || (a.key < b.key ? -1 : 1))
        .map(({ peer }) => peer)
      const stays = order.slice(0, room)
      leaves.push(...order.slice(room).map((peer) => ({ part, peer, stays })))
    }
    // Who must not be used leaves as soon as another holder is there.
    if (holders.length > 0) {
      const stays = holders.map(({ peer }) => peer)
      for (const { peer, holds, barred = [] } of peers) {
        if (barred.includes(part) && holds.some((hold) => hold.part === part && hold.state === 'ready')) {
          leaves.push({ part, peer, stays })
        }
      }
    }
  }
  return leaves
}
