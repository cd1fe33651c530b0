/**
 * Membership without heartbeats: one table of what everybody said, which all peers of a simulation read. For swarms in which n² heartbeats would be all that is
 * simulated. What a peer says at once, or with its next heartbeat, reaches all others at one moment, after a few hops, and who dies stays in it as long as with heartbeats; views of
 * different peers never differ by anything but themselves. That is the ideal: what differing views lead to is not simulated.
 */
import {
  heartbeatInterval,
  type Member,
  type MemberStatus,
  type PeerName,
  type RunningSwarm,
  seededRandom,
  silentAfter,
  type Transport,
} from '../protocols/index.ts'
import type { VirtualClock } from './clock.ts'

/** What one simulation's peers know of each other. */
export interface Directory {
  /** The swarm of one process. Throws nothing: it cannot fail to be heard. */
  swarm(transport: Transport, options: { run: string; incarnation: number }): RunningSwarm
  /** A peer died without a word: it is a member until the others would have missed its heartbeat. */
  died(peer: PeerName): void
}

/** A directory without members. `delay` gives how long it takes until all have heard of something, ms. */
export function createDirectory({
  clock,
  seed,
  delay,
}: {
  clock: VirtualClock
  seed: number
  delay: () => number
}): Directory {
  /** Sorted by name; bounded by the peers of the simulation. */
  const members: Member[] = []
  /** Counts the changes of {@link members}. */
  let version = 0
  const listeners = new Set<() => void>()
  const random = seededRandom(seed, 'directory')

  /** Place of a peer, or that which it would have. */
  const placeOf = (peer: PeerName): number => {
    let low = 0
    let high = members.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((members[middle] as Member).peer < peer) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }
  const at = (peer: PeerName): Member | undefined => {
    const found = members[placeOf(peer)]
    return found?.peer === peer ? found : undefined
  }
  /** Tells all listeners; false when nobody listens, so that nothing has to settle. */
  const tell = (): boolean => {
    for (const listener of [...listeners]) {
      listener()
    }
    return listeners.size > 0
  }
  const hear = (peer: PeerName, status: MemberStatus): boolean => {
    const place = placeOf(peer)
    const known = at(peer)
    if (known !== undefined && known.status.incarnation > status.incarnation) {
      return false
    }
    members.splice(place, known === undefined ? 0 : 1, { peer, seenAt: clock.now(), status })
    version++
    return tell()
  }

  return {
    died(peer) {
      const known = at(peer)
      const interval = heartbeatInterval(members.length - 1)
      clock.schedule(silentAfter(interval) - interval * random.uniform(), () => {
        if (known === undefined || at(peer)?.status.incarnation !== known.status.incarnation) {
          return false
        }
        members.splice(placeOf(peer), 1)
        version++
        return tell()
      })
    },
    swarm(transport, { run, incarnation }) {
      let status: MemberStatus = { incarnation, phase: 'joining', step: 0, round: 0, bytesSent: 0, bytesReceived: 0 }
      let running = false
      /** The next heartbeat will tell what is new. */
      let due = false
      const own = new Set<() => void>()
      /** What was handed out last, and the version that it shows: a peer looks several times at one moment. */
      let seen: { version: number; members: readonly Member[] } | undefined
      const say = (): void => {
        const said = status
        clock.schedule(delay(), () => hear(transport.self, said))
      }
      return {
        self: transport.self,
        run,
        clock: transport.clock,
        random: (purpose) => transport.random(purpose),
        connected: () => transport.connected(),
        onConnections: (listener) => transport.onConnections(listener),
        publish: (topic, data, signal) => transport.publish(topic, data, signal),
        subscribe: (topic, handler) => transport.subscribe(topic, handler),
        ask: (peer, method, question, options) => transport.ask(peer, method, question, options),
        answer: (method, answerer) => transport.answer(method, answerer),
        penalize: (peer, reason) => transport.penalize(peer, reason),
        sign: (data) => transport.sign(data),
        verify: (peer, data, signature) => transport.verify(peer, data, signature),
        async start() {
          running = true
          say()
        },
        async stop() {
          running = false
          status = { ...status, phase: 'leaving' }
          say()
          for (const listener of own) {
            listeners.delete(listener)
          }
        },
        status: () => status,
        members() {
          if (seen?.version !== version) {
            const place = placeOf(transport.self)
            const others = members[place]?.peer === transport.self ? members.toSpliced(place, 1) : members.slice()
            seen = { version, members: others }
          }
          return seen.members
        },
        onMembers(listener) {
          const entry = (): void => listener()
          own.add(entry)
          listeners.add(entry)
          return () => {
            own.delete(entry)
            listeners.delete(entry)
          }
        },
        announce(said, now = false) {
          status = { ...status, ...said, incarnation }
          if (!running) {
            return
          }
          if (now) {
            say()
          } else if (!due) {
            due = true
            // On the clock of the process: what is dead says nothing.
            void transport.clock.sleep(heartbeatInterval(members.length - 1)).then(() => {
              due = false
              if (running) {
                say()
              }
            })
          }
        },
      }
    },
  }
}
