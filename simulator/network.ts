/**
 * A network in memory. Peers are joined to each other unless a link is cut, or with the gossip mesh to some of each other; gossip reaches
 * everyone in the same part of the network; a question to a peer without a connection makes one. Latency, loss and order come from a seed, so a run can be repeated.
 */
import { createHmac } from 'node:crypto'
import { equalBytes, type PeerName, type Random, StarlingError, seededRandom } from '../protocols/index.ts'
import { ASK_TIMEOUT, aborted, ask, type Links } from './ask.ts'
import { createVirtualClock } from './clock.ts'
import { createGossip } from './gossip/index.ts'
import { type Node, newNode } from './node.ts'
import type { MemoryNetwork, MemoryNetworkOptions, MemoryPeer } from './types.ts'

/** Longest gossip message and longest question, bytes: the same as in the daemon. */
const MAX_NEWS = 64 * 1024
const MAX_QUESTION = 112 * 1024

/** One-way trips until a dialled connection can be used: three round trips for TCP, encryption and multiplexing. */
const DIAL_TRIPS = 6

/** A network without peers. */
export function createMemoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  const latency = options.latency ?? [5, 50]
  const clock = createVirtualClock()
  const dice = seededRandom(options.seed, 'network')
  const nodes = new Map<PeerName, Node>()
  /** Cut links as 'a|b' with a < b. Bounded by the pairs of peers. */
  const cuts = new Set<string>()

  /** The part of each peer while the network is in parts; empty while it is whole. */
  const parts = new Map<PeerName, number>()

  const key = (a: PeerName, b: PeerName): string => (a < b ? `${a}|${b}` : `${b}|${a}`)
  /** Who joins a network in parts is linked with all of them. */
  const together = (a: PeerName, b: PeerName): boolean => {
    const [one, other] = [parts.get(a), parts.get(b)]
    return one === other || one === undefined || other === undefined
  }
  const linked = (a: Node, b: Node): boolean =>
    a !== b &&
    a.alive &&
    b.alive &&
    (cuts.size === 0 || !cuts.has(key(a.name, b.name))) &&
    (parts.size === 0 || together(a.name, b.name))
  const delay = (bytes: number, from: Node, to: Node): number => {
    const trip =
      typeof latency === 'function'
        ? latency(from.name, to.name, bytes, dice)
        : latency[0] + dice.uniform() * (latency[1] - latency[0])
    return trip + (options.bandwidth === undefined ? 0 : (bytes / options.bandwidth) * 1000)
  }
  const links: Links = { clock, delay, counted: (frame) => gossip.counted(frame), under: new Set() }
  /** What only the peer itself is handed: a keyed hash stands in for Ed25519, at a fraction of its cost and the same in every run. */
  const signatureOf = (name: PeerName, data: Uint8Array): Uint8Array =>
    new Uint8Array(createHmac('sha512', `${options.seed} ${name}`).update(data).digest())
  const find = (name: PeerName): Node => {
    const node = nodes.get(name)
    if (node === undefined) {
      throw new StarlingError('peer-unreachable', `there is no peer ${name}`, { peer: name })
    }
    return node
  }

  /** Tells a peer, once and soon, that its connections changed. */
  const notify = (node: Node): void => {
    if (!node.alive || node.notified || node.listeners.size === 0) {
      return
    }
    node.notified = true
    clock.schedule(0, () => {
      node.notified = false
      for (const listener of [...node.listeners]) {
        listener()
      }
    })
  }

  const gossip = createGossip(options.gossip ?? 'broadcast', {
    seed: options.seed,
    clock,
    nodes,
    linked,
    direct: () => cuts.size === 0 && (parts.size === 0 || parts.size === nodes.size),
    delay,
    dice,
    loss: options.loss ?? 0,
    connections: options.connections ?? Number.POSITIVE_INFINITY,
    ordered: options.ordered ?? false,
    notify,
    broken: () => failBroken(),
  })

  /** Fails what is under way on connections that are there no more. */
  const failBroken = (): void => {
    for (const link of [...links.under]) {
      if (!gossip.isConnected(link.from, link.to)) {
        link.fail(unreachable(link.to.name))
      }
    }
  }

  /** After links changed: fails what was under way on broken ones and tells everyone alive. */
  const changed = (): void => {
    gossip.changed()
    failBroken()
    for (const node of nodes.values()) {
      notify(node)
    }
  }

  const join = (name = `peer-${nodes.size}`): MemoryPeer => {
    if (nodes.has(name)) {
      throw new StarlingError('bad-scenario', `there is a peer ${name} already`, { peer: name })
    }
    const node = newNode(name)
    const transport: MemoryPeer = {
      self: name,
      clock,
      random: (purpose): Random => seededRandom(options.seed, name, purpose),
      connected: () =>
        gossip
          .connected(node)
          .map((other) => other.name)
          .sort(),
      onConnections(listener) {
        // Wrapped, so that the same function may listen twice.
        const entry = (): void => listener()
        node.listeners.add(entry)
        return () => node.listeners.delete(entry)
      },
      async publish(topic, data, signal) {
        if (signal?.aborted === true) {
          throw aborted()
        }
        if (data.byteLength > MAX_NEWS) {
          throw new StarlingError('message-too-large', `${data.byteLength} bytes of gossip, more than ${MAX_NEWS}`, {
            topic,
          })
        }
        return node.alive ? gossip.publish(node, topic, data) : 0
      },
      subscribe(topic, handler) {
        if (node.topics.has(topic)) {
          throw new StarlingError('duplicate-topic', `${name} handles ${topic} already`, { topic })
        }
        node.topics.set(topic, handler)
        gossip.subscribed(node, topic)
        return () => {
          if (node.topics.get(topic) === handler) {
            node.topics.delete(topic)
            gossip.unsubscribed(node, topic)
          }
        }
      },
      async ask(peer, method, question, asked = {}) {
        const other = nodes.get(peer)
        if (asked.signal?.aborted === true) {
          throw aborted()
        }
        if (question.byteLength > MAX_QUESTION) {
          throw new StarlingError(
            'question-too-large',
            `${question.byteLength} bytes of question, more than ${MAX_QUESTION}`,
            { method },
          )
        }
        if (other === undefined || !linked(node, other)) {
          throw unreachable(peer)
        }
        let timeout = asked.timeout ?? ASK_TIMEOUT
        if (!gossip.isConnected(node, other)) {
          const trips = Array.from({ length: DIAL_TRIPS }, () => delay(0, node, other))
          const dialled = trips.reduce((sum, trip) => sum + trip, 0)
          await clock.sleep(dialled, asked.signal).catch(() => {
            throw aborted()
          })
          if (!gossip.reach(node, other)) {
            throw unreachable(peer)
          }
          timeout = Math.max(1, timeout - dialled)
        }
        gossip.asked(node, other)
        return ask(links, node, other, method, question, { ...asked, timeout })
      },
      answer(method, answerer) {
        if (node.answerers.has(method)) {
          throw new StarlingError('duplicate-answerer', `${name} answers ${method} already`, { method })
        }
        node.answerers.set(method, answerer)
        return () => {
          if (node.answerers.get(method) === answerer) {
            node.answerers.delete(method)
          }
        }
      },
      penalize(peer, reason) {
        node.penalties.push({ peer, reason })
        if (node.penalties.length > 1000) {
          node.penalties.shift()
        }
      },
      sign: async (data) => signatureOf(name, data),
      verify: async (peer, data, signature) => nodes.has(peer) && equalBytes(signature, signatureOf(peer, data)),
      kill() {
        node.alive = false
        node.life++
        node.topics.clear()
        node.answerers.clear()
        node.listeners.clear()
        changed()
      },
      revive() {
        node.alive = true
        node.frozen = false
        changed()
      },
      freeze() {
        node.frozen = true
      },
      unfreeze() {
        node.frozen = false
      },
      get alive() {
        return node.alive
      },
      get penalties() {
        return node.penalties
      },
      get outstanding() {
        return node.outstanding
      },
      get mostOutstanding() {
        return node.mostOutstanding
      },
      get sent() {
        return node.sent
      },
      get received() {
        return node.received
      },
      mesh: (topic) => gossip.mesh(node, topic),
      get gossip() {
        return { ...node.gossip }
      },
    }
    node.transport = transport
    nodes.set(name, node)
    changed()
    return transport
  }

  return {
    clock,
    join,
    peer: (name) => find(name).transport,
    get peers() {
      return [...nodes.keys()]
    },
    cut(a, b) {
      cuts.add(key(find(a).name, find(b).name))
      changed()
    },
    heal(a, b) {
      cuts.delete(key(a, b))
      changed()
    },
    partition(...groups) {
      const named = new Map(groups.flatMap((names, index) => names.map((name) => [name, index] as const)))
      cuts.clear()
      for (const [index, name] of [...nodes.keys()].entries()) {
        parts.set(name, named.get(name) ?? groups.length + index)
      }
      changed()
    },
    healAll() {
      cuts.clear()
      parts.clear()
      changed()
    },
    answererOf(peer, method) {
      const answerer = find(peer).answerers.get(method)
      if (answerer === undefined) {
        throw new StarlingError('unknown-method', `${peer} does not answer ${method}`, { peer, method })
      }
      return answerer
    },
    replaceAnswerer(peer, method, answerer) {
      find(peer).answerers.set(method, answerer)
    },
  }
}

function unreachable(peer: PeerName): StarlingError {
  return new StarlingError('peer-unreachable', `${peer} cannot be reached`, { peer })
}
