#!/usr/bin/env node
/**
 * Is the simulator's gossip mesh like the real one? Starts real nodes on the loopback interface, publishes from each of them, and does the
 * same in the simulator: the same number of peers, messages, bytes and seconds. Prints both and their ratio, for
 *
 *   degree      mesh neighbours of a peer
 *   hops        links that a message takes to a peer, in the mean over messages and peers. Loopback has no latency worth the name, what counts
 *               there is the order in which a busy process gets to its sockets; so hops are compared, not milliseconds.
 *   copies      copies of a message that a peer gets
 *   stream      bytes a peer sends in gossipsub's streams, for each message published by anyone
 *   wire        bytes a peer sends on its sockets for the same, noise's and yamux's framing included, less what it sends when nobody publishes
 *
 *   npm run build && node scripts/bench/gossip-mesh.js [--peers 16] [--messages 20] [--bytes 120] [--runs 3] [--json]
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startLoopback } from '../../dist/daemon/bench/loopback.js'
import { createMemoryNetwork } from '../../dist/simulator/index.js'

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '16' },
    messages: { type: 'string', default: '20' },
    bytes: { type: 'string', default: '120' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const [peers, messages, bytes, runs] = [values.peers, values.messages, values.bytes, values.runs].map(Number)

/** Between two messages of a peer, the peers taking turns, and after the last one so that it is told of in every heartbeat that does so; milliseconds. */
const PAUSE = 250
const AFTERMATH = 5_000
const TOPIC = 'contributions'

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length
const accept = (handle) => ({ validate: () => ({ verdict: 'accept' }), handle })

/** One measurement over libp2p. */
async function real() {
  const began = performance.now()
  const loopback = await startLoopback(peers, [TOPIC])
  const gap = (performance.now() - began) / peers
  const { nodes } = loopback
  try {
    let delivered = 0
    let copies = 0
    /** By message and peer, how many links the first copy took; of an author's own message 0. */
    const hops = new Map()
    const found = []
    for (const node of nodes) {
      node.subscribe(
        TOPIC,
        accept(() => delivered++),
      )
      const router = node.host.services.pubsub
      const received = router.handleReceivedMessage
      router.handleReceivedMessage = function (from, message) {
        copies++
        return received.call(this, from, message)
      }
      router.addEventListener('gossipsub:message', ({ detail }) => {
        const author = detail.msg.from.toString()
        const forwarder = detail.propagationSource.toString()
        const before = forwarder === author ? 0 : hops.get(`${detail.msgId} ${forwarder}`)
        hops.set(`${detail.msgId} ${node.self}`, before + 1)
        found.push(before + 1)
      })
    }
    await loopback.settled()
    const degree = mean(nodes.map((node) => meshOf(node).length))
    const sent = () => {
      const counters = nodes.map((node) => node.counters())
      return {
        stream: counters.reduce((sum, { protocols }) => sum + (protocols['/meshsub/1.2.0']?.sent ?? 0), 0),
        wire: counters.reduce((sum, { wire }) => sum + wire.sent, 0),
      }
    }
    const duration = PAUSE * messages + AFTERMATH
    const before = sent()
    await delay(duration)
    const idle = sent()
    for (let number = 0; number < messages; number++) {
      for (const node of nodes) {
        await node.publish(TOPIC, new Uint8Array(bytes))
        await delay(PAUSE / peers)
      }
    }
    await delay(AFTERMATH)
    const after = sent()
    const published = peers * messages
    if (delivered !== published * (peers - 1)) {
      throw new Error(`${delivered} of ${published * (peers - 1)} messages came`)
    }
    const per = (kind) => (after[kind] - idle[kind] - (idle[kind] - before[kind])) / published / peers
    return {
      gap,
      degree,
      hops: mean(found),
      copies: copies / published / (peers - 1),
      stream: per('stream'),
      wire: per('wire'),
    }
  } finally {
    await loopback.stop()
  }
}

function meshOf(node) {
  const router = node.host.services.pubsub
  const name = router.getTopics().find((topic) => topic.endsWith(`/${TOPIC}`))
  return router.getMeshPeers(name)
}

/** The same in the simulator, with peers that start as far apart as the real ones did: the meshes depend on it. */
async function simulated(seed, gap) {
  const network = createMemoryNetwork({ seed, latency: [0.5, 1.5], gossip: 'mesh' })
  const { clock } = network
  const nodes = []
  for (let number = 0; number < peers; number++) {
    const node = network.join()
    node.subscribe(
      TOPIC,
      accept(() => {}),
    )
    nodes.push(node)
    await clock.advance(gap)
  }
  await clock.advance(4_000)
  const sum = (of) => nodes.reduce((total, node) => total + of(node), 0)
  const wire = sum(({ sent }) => sent)
  const stream = sum(({ gossip }) => gossip.streamBytes)
  for (let number = 0; number < messages; number++) {
    for (const node of nodes) {
      await node.publish(TOPIC, new Uint8Array(bytes))
      await clock.advance(PAUSE / peers)
    }
  }
  await clock.advance(AFTERMATH)
  const published = peers * messages
  const first = sum(({ gossip }) => gossip.first)
  if (first !== published * (peers - 1)) throw new Error(`${first} of ${published * (peers - 1)} messages came`)
  return {
    degree: mean(nodes.map((node) => node.mesh(TOPIC).length)),
    hops: sum(({ gossip }) => gossip.firstHops) / first,
    copies: (first + sum(({ gossip }) => gossip.duplicates)) / first,
    stream: (sum(({ gossip }) => gossip.streamBytes) - stream) / published / peers,
    wire: (sum(({ sent }) => sent) - wire) / published / peers,
  }
}

const measured = []
for (let run = 0; run < runs; run++) {
  const actual = await real()
  measured.push({ real: actual, model: await simulated(run + 1, actual.gap) })
  console.error(`run ${run + 1} of ${runs}: ${JSON.stringify(measured.at(-1))}`)
}
const row = (figure) => {
  const [actual, model] = ['real', 'model'].map((side) => mean(measured.map((one) => one[side][figure])))
  return { figure, real: actual, model, ratio: model / actual }
}
const table = ['degree', 'hops', 'copies', 'stream', 'wire'].map(row)
if (values.json) {
  console.log(JSON.stringify({ peers, messages, bytes, runs, table }))
} else {
  const line = (cells) => console.log(cells.map((cell) => String(cell).padStart(10)).join(''))
  line(['', 'real', 'model', 'ratio'])
  for (const { figure, real: actual, model, ratio } of table) {
    line([figure, actual.toFixed(2), model.toFixed(2), ratio.toFixed(3)])
  }
}
