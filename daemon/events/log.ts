import type { PeerName, StrategyEvent } from '../../protocols/index.ts'
import type { DaemonEvent, NodeEvent } from '../types.ts'

/** Events kept. A few hours of four peers; about 1 MB. */
export const EVENTS_KEPT = 5_000

/** What happened, before it is numbered and dated. */
export type OwnEvent = StrategyEvent | DaemonEvent

/** The bounded log of everything a node knows to have happened, at itself and, by gossip, at others. */
export interface EventLog {
  /** Something that happened at this node, now. */
  record(event: OwnEvent): NodeEvent
  /** Something that `peer` said happened to it at `time` (its clock). */
  merge(peer: PeerName, time: number, event: OwnEvent): NodeEvent
  /** Events numbered above `after` that are still kept, oldest first. */
  since(after?: number): NodeEvent[]
  /** Called with every new event; returns how to stop that. A listener that throws is dropped and its error is passed to `onError`. */
  listen(listener: (event: NodeEvent) => void): () => void
}

export interface EventLogOptions {
  self: PeerName
  /** Milliseconds since the epoch. */
  now?: () => number
  /** Events kept, {@link EVENTS_KEPT} by default. */
  capacity?: number
  onError?: (error: unknown) => void
}

/**
 * Makes an event log. When it is full, every second training step and report of contributions or of a pipeline in its older half is forgotten first, so
 * that a curve stays whole and only gets coarser; with none left there, the oldest events go.
 */
export function createEventLog(options: EventLogOptions): EventLog {
  const { self, now = Date.now, capacity = EVENTS_KEPT, onError = () => {} } = options
  let kept: NodeEvent[] = []
  let sequence = 0
  // Bounded by the callers: one per open event stream, which the API limits, and a handful inside the node.
  const listeners = new Set<(event: NodeEvent) => void>()

  const add = (peer: PeerName, time: number, event: OwnEvent): NodeEvent => {
    sequence += 1
    // 'rejected', 'waiting', 'excluded', 'stage-lost' and 'stage-recovered' name another peer in the place where a line names the peer it happened at.
    const about = 'peer' in event && event.peer !== undefined ? { about: event.peer } : {}
    const line: NodeEvent = { ...event, ...about, sequence, peer, time }
    kept.push(line)
    if (kept.length > capacity) kept = thin(kept, capacity)
    for (const listener of listeners) {
      try {
        listener(line)
      } catch (error) {
        listeners.delete(listener)
        onError(error)
      }
    }
    return line
  }

  return {
    record: (event) => add(self, now(), event),
    merge: add,
    since(after = 0) {
      // Sequence numbers ascend, so the first one wanted is found by bisection.
      let low = 0
      let high = kept.length
      while (low < high) {
        const middle = (low + high) >> 1
        if ((kept[middle] as NodeEvent).sequence > after) high = middle
        else low = middle + 1
      }
      return kept.slice(low)
    },
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** Points of curves: half as many draw the same line. */
const CURVES: ReadonlySet<NodeEvent['kind']> = new Set(['step', 'contributions', 'pipeline'])

function thin(events: NodeEvent[], capacity: number): NodeEvent[] {
  const half = events.length >> 1
  const seen = new Map<string, number>() // at most three entries per peer in the log
  const thinned = events.filter((event, index) => {
    if (index >= half || !CURVES.has(event.kind)) return true
    const key = `${event.kind} ${event.peer}`
    const count = (seen.get(key) ?? 0) + 1
    seen.set(key, count)
    return count % 2 === 1
  })
  // Nothing to gain from steps: drop the oldest tenth at once, so that this pass stays rare.
  return thinned.length > capacity * 0.95 ? thinned.slice(thinned.length - Math.floor(capacity * 0.9)) : thinned
}

/** Milliseconds since the epoch of an event, for people: 2026-01-31 12:00:00. */
export function timeOf(event: NodeEvent): string {
  return new Date(event.time).toISOString().slice(0, 19).replace('T', ' ')
}
