/** One of the two processes of the benchmark: the giver of the blob or its taker. Started by `benchStream`, ordered about by messages. */
import '../../shims.ts'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { type Blobs, createBlobs } from '../../../protocols/index.ts'
import { createNetwork, type Network } from '../../network/index.ts'
import { CHUNK, type Kind, type Meeting, type Order, OUTSTANDING, type Report } from './index.ts'

const METHOD = 'bench/chunk'
const DAY = 24 * 3600 * 1000
const SOCKET_SLICE = 64 * 1024
/** The benchmark is not to measure limits that protect a daemon. */
const RATES = { perPeer: 1e6, perPeerBurst: 1e6, total: 1e6, totalBurst: 1e6 }

const role = process.argv[2]
let network: Network
let blobs: Blobs
let server: Server | undefined
let blob: Uint8Array
let meeting: Meeting
let giver: string

async function prepare(bytes: number, meet: Meeting | undefined): Promise<Report> {
  blob = new Uint8Array(bytes)
  const identity = await generateKeyPair('Ed25519')
  network = await createNetwork({ identity, run: 'bench', topics: [], listen: ['/ip4/127.0.0.1/tcp/0'], rates: RATES })
  await network.start()
  const unlimited = { peerRate: 1e12, totalRate: 1e12 }
  blobs = createBlobs(network, unlimited)
  if (role === 'giver') return { meet: await offer() }
  meeting = meet as Meeting
  giver = await network.dial(meeting.address)
  return { ready: true }
}

/** Offers a blob of bytes that no layer can compress, in all three ways. */
async function offer(): Promise<Meeting> {
  const words = new Uint32Array(blob.buffer, 0, blob.byteLength >> 2)
  let state = 1
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[at] = state
  }
  network.answer(METHOD, (_from, question) => {
    const at = new DataView(question.buffer, question.byteOffset).getUint32(0) * CHUNK
    return blob.subarray(at, at + CHUNK)
  })
  server = createServer(async (socket) => {
    for (let at = 0; at < blob.byteLength; at += SOCKET_SLICE) {
      if (!socket.write(blob.subarray(at, at + SOCKET_SLICE))) await once(socket, 'drain')
    }
    socket.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { root } = await blobs.offer(blob, { ttl: DAY })
  return { address: network.addresses()[0] as string, port: (server.address() as AddressInfo).port, root }
}

async function overSocket(): Promise<void> {
  const socket = connect(meeting.port, '127.0.0.1')
  let at = 0
  for await (const data of socket) {
    blob.set(data, at)
    at += data.byteLength
  }
  if (at !== blob.byteLength) throw new Error(`the socket gave ${at} bytes`)
}

async function overAsk(): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next * CHUNK < blob.byteLength) {
      const number = next++
      const question = new Uint8Array(4)
      new DataView(question.buffer).setUint32(0, number)
      blob.set(await network.ask(giver, METHOD, question, { maxAnswer: CHUNK, timeout: 60_000 }), number * CHUNK)
    }
  }
  await Promise.all(Array.from({ length: OUTSTANDING }, lane))
}

async function overPull(): Promise<void> {
  await blobs.pull([giver], { root: meeting.root, size: blob.byteLength }, blob, { outstanding: OUTSTANDING })
}

async function run(kind: Kind): Promise<Report> {
  blob.fill(0)
  const start = performance.now()
  await { socket: overSocket, ask: overAsk, pull: overPull }[kind]()
  return { milliseconds: performance.now() - start }
}

async function obey(order: Order): Promise<Report | undefined> {
  if (order.do === 'prepare') return prepare(order.bytes, order.meet)
  if (order.do === 'run') return run(order.kind)
  if (order.do === 'memory') return { peak: (process.resourceUsage().maxRSS * 1024) / 1e6 }
  blobs?.stop()
  server?.close()
  await network?.stop()
  process.disconnect()
  return undefined
}

process.on('message', (order: Order) => {
  obey(order)
    .catch((error: Error): Report => ({ error: error.message }))
    .then((report) => {
      if (report !== undefined) process.send?.(report)
    })
})
// The parent is gone: nobody wants the figures any more.
process.on('disconnect', () => process.exit())
