/** Gossip as it is: peers with a bounded number of connections, a gossipsub router in each, and every byte counted. */
import { seededRandom, shuffled, surplus } from '../../protocols/index.ts'
import { arrived } from '../ask.ts'
import type { Node } from '../node.ts'
import { askCost, frameBytes, type GossipFrame, streamCost } from './frames.ts'
import type { GossipParameters } from './parameters.ts'
import { Router } from './router.ts'
import { type Gossip, type GossipParts, validated } from './types.ts'

/** A connection. Frames arrive in the order in which they were sent, as in a stream. */
interface Connection {
  open: boolean
  openedAt: number
  /** When a question went over it the last time. */
  usedAt: number
  /** When the latest frame to each end arrives. */
  arrival: Map<Node, number>
}

/** A peer's process as the gossip sees it. */
interface Station {
  node: Node
  life: number
  router: Router
  connections: Map<Node, Connection>
  stop(): void
}

/**
 * The mesh of the given parameters. It connects each peer with random others up to `connections`. What gets lost are frames with messages,
 * IHAVE and IWANT, never what belongs to the connection itself.
 */
export function createMesh(parts: GossipParts, parameters: GossipParameters): Gossip {
  const { clock, linked, delay, dice, loss } = parts
  /** The living, in the order in which they came. */
  const stations = new Map<Node, Station>()
  let published = 0

  const send = (from: Station, to: Station, frame: GossipFrame): void => {
    const connection = from.connections.get(to.node)
    if (connection === undefined) {
      return
    }
    const streamBytes = frameBytes(frame, parameters.topicPrefix)
    const cost = streamCost(streamBytes)
    from.node.sent += cost.frame
    from.node.gossip.frames++
    from.node.gossip.streamBytes += streamBytes
    const losable = frame.messages !== undefined || frame.ihave !== undefined || frame.iwant !== undefined
    if (losable && loss > 0 && dice.uniform() < loss) {
      return
    }
    const at = Math.max(clock.now() + delay(cost.frame, from.node, to.node), connection.arrival.get(to.node) ?? 0)
    connection.arrival.set(to.node, at)
    clock.schedule(at - clock.now(), () => {
      // Cut, dead or frozen by now.
      if (!connection.open || to.node.frozen) {
        return false
      }
      arrived(from.node, to.node, cost)
      return to.router.receive(from.node.name, frame)
    })
  }

  const start = (node: Node): Station => {
    const random = seededRandom(parts.seed, 'gossip', node.name, node.life)
    const explorer = seededRandom(parts.seed, 'explore', node.name, node.life)
    const afterExplore = (): number => clock.now() + parameters.explore * (0.5 + explorer.uniform())
    let nextExplore = afterExplore()
    const connections = new Map<Node, Connection>()
    const router = new Router({
      parameters,
      random,
      now: clock.now,
      counters: node.gossip,
      send(name, frame) {
        const to = stations.get(parts.nodes.get(name) as Node)
        if (to !== undefined) {
          send(station, to, frame)
        }
      },
      validate: ({ topic, from, data }, forwarder) => validated(node, { topic, from, data }, forwarder),
    })
    /** Looks at one more peer now and then, so that halves that were cut apart find each other again. */
    const explore = (): void => {
      if (clock.now() < nextExplore) {
        return
      }
      nextExplore = afterExplore()
      const { size } = connections
      if (size >= parameters.connections && size < parameters.maxConnections) {
        const [other] = shuffled([...stations.values()], explorer).filter((one) => free(station, one))
        if (other !== undefined) {
          connect(station, other)
        }
      }
    }
    const beat = (): false => {
      if (!node.frozen) {
        greet(station)
        dial(station)
        explore()
        prune(station)
        router.heartbeat()
      }
      cancel = clock.schedule(parameters.heartbeat, beat)
      return false
    }
    let cancel = clock.schedule(parameters.firstHeartbeat, beat)
    const station: Station = { node, life: node.life, router, connections, stop: () => cancel() }
    return station
  }

  const close = (a: Station, b: Station): void => {
    const connection = a.connections.get(b.node)
    if (connection !== undefined) {
      connection.open = false
    }
    a.connections.delete(b.node)
    b.connections.delete(a.node)
    a.router.disconnected(b.node.name)
    b.router.disconnected(a.node.name)
  }

  const free = (station: Station, other: Station): boolean =>
    linked(station.node, other.node) &&
    !station.connections.has(other.node) &&
    other.connections.size < parameters.maxConnections

  /** Connects a peer with the first one, whose address all were given. */
  const greet = (station: Station): void => {
    const [first] = stations.values()
    if (first !== undefined && free(station, first)) {
      connect(station, first)
    }
  }

  /** Connects a peer with some random others while it has too few connections; it hears of them little by little. */
  const dial = (station: Station): void => {
    const missing = Math.min(parameters.dials, parameters.connections - station.connections.size)
    if (missing > 0 && station.connections.size < stations.size - 1) {
      const others = [...stations.values()].filter((other) => free(station, other))
      for (const other of shuffled(others, dice).slice(0, missing)) {
        connect(station, other)
      }
    }
  }

  /** Lets go of connections as the daemon does. */
  const prune = (station: Station): void => {
    const connected = [...station.connections].map(([{ name }, { openedAt, usedAt }]) => {
      return { peer: name, openedAt, usedAt, points: 0, kept: false }
    })
    const bounds = { target: parameters.connections, max: parameters.maxConnections }
    for (const name of surplus(connected, bounds, clock.now())) {
      const other = parts.nodes.get(name) as Node
      close(station, stations.get(other) as Station)
      parts.notify(station.node)
      parts.notify(other)
      parts.broken()
    }
  }

  const connect = (dialler: Station, other: Station): void => {
    const now = clock.now()
    const connection: Connection = { open: true, openedAt: now, usedAt: now, arrival: new Map() }
    dialler.connections.set(other.node, connection)
    other.connections.set(dialler.node, connection)
    dialler.router.connected(other.node.name, true)
    other.router.connected(dialler.node.name, false)
    parts.notify(other.node)
    parts.notify(dialler.node)
  }

  return {
    publish(node, topic, data) {
      const news = { id: published++, topic, from: node.name, data: new Uint8Array(data) }
      return stations.get(node)?.router.publish(news) ?? 0
    },
    subscribed: (node, topic) => stations.get(node)?.router.subscribe(topic),
    unsubscribed: (node, topic) => stations.get(node)?.router.unsubscribe(topic),
    changed() {
      for (const station of [...stations.values()]) {
        const over = !station.node.alive || station.node.life !== station.life
        for (const other of [...station.connections.keys()]) {
          if (over || !linked(station.node, other)) {
            close(station, stations.get(other) as Station)
          }
        }
        if (over) {
          station.stop()
          stations.delete(station.node)
        }
      }
      for (const node of parts.nodes.values()) {
        if (node.alive && !stations.has(node)) {
          stations.set(node, start(node))
        }
      }
      for (const station of stations.values()) {
        greet(station)
      }
    },
    mesh: (node, topic) => stations.get(node)?.router.mesh(topic) ?? [],
    connected: (node) => [...(stations.get(node)?.connections.keys() ?? [])],
    isConnected: (a, b) => stations.get(a)?.connections.has(b) === true,
    reach(from, to) {
      const [station, other] = [stations.get(from), stations.get(to)]
      if (station === undefined || other === undefined || !linked(from, to)) {
        return false
      }
      if (!station.connections.has(to)) {
        connect(station, other)
      }
      return true
    },
    asked(from, to) {
      const connection = stations.get(from)?.connections.get(to)
      if (connection !== undefined) {
        connection.usedAt = clock.now()
      }
    },
    counted: ({ text, body }) => askCost(text, body),
  }
}
