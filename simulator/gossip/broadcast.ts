/** Gossip as an ideal: everyone in the same part of the network gets each message once, over as many hops as it takes around cut links. */
import type { Node } from '../node.ts'
import { type Gossip, type GossipParts, validated } from './types.ts'

/** Cheap and exact in what it counts, the payload; for tests of what stands above the gossip. */
export function createBroadcast(parts: GossipParts): Gossip {
  const { clock, nodes, linked, delay, dice, loss, connections } = parts

  /** All peers in the order in which they came, and where each stands. */
  const order: Node[] = []
  const places = new Map<Node, number>()

  /** Hops from a peer to everyone it can reach. */
  const hops = (from: Node): Map<Node, number> => {
    const found = new Map([[from, 0]])
    if (parts.direct()) {
      // The usual case; the search below looks at every pair of peers.
      for (const other of nodes.values()) {
        if (linked(from, other)) {
          found.set(other, 1)
        }
      }
      return found
    }
    for (const [node, distance] of found) {
      for (const other of nodes.values()) {
        if (!found.has(other) && linked(node, other)) {
          found.set(other, distance + 1)
        }
      }
    }
    return found
  }

  return {
    publish(from, topic, data) {
      const copy = new Uint8Array(data)
      let handed = 0
      for (const [node, distance] of hops(from)) {
        if (distance === 0 || !node.topics.has(topic)) {
          continue
        }
        handed += distance === 1 ? 1 : 0
        let wait = 0
        for (let hop = 0; hop < distance; hop++) {
          wait += delay(0, from, node)
        }
        if (dice.uniform() < loss) {
          continue
        }
        let at = clock.now() + wait
        if (parts.ordered) {
          at = Math.max(at, node.latest.get(from.name) ?? 0)
          node.latest.set(from.name, at)
        }
        const life = node.life
        clock.schedule(at - clock.now(), () => {
          // Frozen or dead by now, or cut off while the message was on its way.
          if (!node.alive || node.life !== life || node.frozen || !(linked(from, node) || hops(from).has(node))) {
            return
          }
          node.received += copy.byteLength
          validated(node, { topic, from: from.name, data: copy }, from.name)?.()
        })
      }
      from.sent += data.byteLength * handed
      return handed
    },
    subscribed() {},
    unsubscribed() {},
    changed() {},
    mesh: () => [],
    connected(node) {
      if (order.length < nodes.size) {
        for (const newcomer of [...nodes.values()].slice(order.length)) {
          places.set(newcomer, order.push(newcomer) - 1)
        }
      }
      const found: Node[] = []
      // Those that came after it, and on from the first.
      for (
        let i = (places.get(node) ?? 0) + 1, left = order.length - 1;
        left > 0 && found.length < connections;
        i++, left--
      ) {
        const other = order[i % order.length] as Node
        if (linked(node, other)) {
          found.push(other)
        }
      }
      return found
    },
    isConnected: linked,
    reach: linked,
    asked() {},
    counted: ({ body }) => ({ frame: body, acknowledgement: 0 }),
  }
}
