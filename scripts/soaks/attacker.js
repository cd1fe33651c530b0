/**
 * A process that attacks the network of running peers, for `attacks-network.js`, which starts and kills it. Its work is bounded by rates, not by what its machine can do:
 * on one machine it would otherwise take the cores from those whom it attacks.
 *
 *     node scripts/soaks/attacker.js KIND RUN ADDRESS...
 *
 * Kinds: subscriptions, connections, slow-loris, oversized, identities, nobody. Prints one JSON line a second of what it did.
 */
import '../../dist/daemon/shims.js'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createLibp2pNetwork } from '../../dist/daemon/network/network.js'

const [kind, run, ...targets] = process.argv.slice(2)
const ASK = '/starling/ask/1.0.0'
const GOSSIP = ['/meshsub/1.2.0', '/meshsub/1.1.0']
const done = { connections: 0, refused: 0, frames: 0, bytes: 0, identities: 0 }

// Whatever is refused, goes on.
process.on('uncaughtException', () => done.refused++)
process.on('unhandledRejection', () => done.refused++)
setInterval(() => console.log(JSON.stringify(done)), 1_000)
// Nobody listens any more: whoever started it is gone.
process.stdout.on('error', () => process.exit(1))

/** A peer of the run with a fresh identity that says hello to one target, and does not look for others. */
async function createPeer(target, others = []) {
  done.identities++
  const network = await createLibp2pNetwork({
    identity: await generateKeyPair('Ed25519'),
    run,
    topics: ['heartbeat'],
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: others,
    targetPeers: Math.max(1, others.length),
    dialPrivate: false, // none but those named
  })
  network.onEvent((event) => {
    if (event.kind === 'connected') done.connections++
    if (event.kind === 'disconnected') done.refused++
  })
  await network.start()
  if (target !== undefined) await network.dial(target, AbortSignal.timeout(10_000))
  return network
}

/** Does something to each target, again and again; what fails is tried again with a fresh identity after a pause. */
async function each(pause, attack) {
  await Promise.all(
    targets.map(async (target) => {
      for (;;) {
        let peer
        try {
          peer = await createPeer(target)
          await attack(peer.host.getConnections()[0])
        } catch {
          done.refused++
        }
        await peer?.stop()
        await sleep(pause)
      }
    }),
  )
}

/** Handshakes with a fresh identity each, and nothing more. */
async function handshakes(pause) {
  for (;;) {
    for (const target of targets) {
      const node = await createLibp2p({
        transports: [tcp()],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        connectionGater: { denyDialMultiaddr: () => false },
      })
      done.identities++
      try {
        await node.dial(multiaddr(target), { signal: AbortSignal.timeout(5_000) })
        done.connections++
      } catch {
        done.refused++
      }
      await node.stop()
    }
    await sleep(pause)
  }
}

function varint(value) {
  const bytes = []
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128)
  return Uint8Array.of(...bytes, value)
}

const field = (number, bytes) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes])

/** A frame of the router with so many subscriptions to topics that nobody has. */
function subscriptions(count) {
  const one = () => field(1, Buffer.concat([Buffer.of(8, 1), field(2, Buffer.from(randomBytes(50).toString('hex')))]))
  const rpc = Buffer.concat(Array.from({ length: count }, one))
  return Buffer.concat([varint(rpc.length), rpc])
}

function send(stream, bytes) {
  if (stream.status !== 'open') throw new Error('closed')
  stream.send(bytes)
  done.frames++
  done.bytes += bytes.length
}

const address = (target) => {
  const [, , host, , port] = target.split('/')
  return { host, port: Number(port) }
}

/** Raw sockets to a target, kept at a number: what is closed is opened again, at most so many a second. */
async function sockets(target, { keep, perSecond, drip }) {
  const open = new Set()
  for (;;) {
    for (let at = 0; at < perSecond / 10 && open.size < keep; at++) {
      const socket = connect(address(target))
      open.add(socket)
      done.connections++
      socket.on('error', () => {})
      socket.on('close', () => {
        done.refused++
        open.delete(socket)
      })
    }
    if (drip !== undefined && Math.random() < 0.1) for (const socket of open) socket.write(drip)
    await sleep(100)
  }
}

const attacks = {
  /** Subscriptions within the limits all the time, and a burst beyond them every ten seconds. */
  subscriptions: () =>
    each(500, async (connection) => {
      const stream = await connection.newStream(GOSSIP)
      const frame = subscriptions(64)
      for (let second = 1; ; second++) {
        for (let at = 0; at < 40; at++) {
          for (let one = 0; one < 10; one++) send(stream, frame)
          await sleep(25)
        }
        if (second % 10 === 0) for (let at = 0; at < 8_000; at++) send(stream, subscriptions(1))
      }
    }),
  /** A hundred sockets a second that say nothing, and two handshakes with a new identity each. */
  connections: () =>
    Promise.all([...targets.map((target) => sockets(target, { keep: 1_000, perSecond: 100 })), handshakes(500)]),
  /** Sockets, streams without a protocol, and questions, all of which come byte by byte. */
  'slow-loris': () =>
    Promise.all([
      ...targets.map((target) => sockets(target, { keep: 60, perSecond: 60, drip: Buffer.of(0x13) })),
      each(1_000, async (connection) => {
        const streams = await Promise.all(Array.from({ length: 4 }, () => connection.newStream(ASK)))
        for (let at = 0; at < 40; at++) await connection.muxer.createStream()
        await sleep(500)
        for (const stream of streams) send(stream, Buffer.of(0x63))
        for (let at = 0; connection.status === 'open'; at++) {
          for (const stream of streams) if (stream.status === 'open') send(stream, Buffer.of(at === 0 ? 1 : 3))
          await sleep(1_000)
        }
      }),
    ]),
  /** Lengths of 4 GiB and as many bytes as are taken: below the streams, in a question, in gossip. */
  oversized: () =>
    Promise.all([
      each(300, async (connection) => {
        const header = Buffer.from('000000000000000001ffffffff'.slice(0, 24), 'hex')
        header.writeUInt32BE(0xffff_fff0, 8)
        const line = connection.muxer.maConn
        line.send(header)
        for (let at = 0; at < 64; at++) {
          send(line, new Uint8Array(64 * 1024))
          await sleep(5)
        }
      }),
      each(300, async (connection) => {
        const stream = await connection.newStream(ASK)
        await sleep(100)
        const question = Buffer.alloc(15)
        question.writeUInt8(0x63, 0)
        question.writeUInt8(1, 1)
        question.writeUInt32LE(0xffff_fff0, 7)
        for (let at = 0; at < 64; at++) {
          send(stream, at === 0 ? question : new Uint8Array(64 * 1024))
          await sleep(5)
        }
      }),
      each(300, async (connection) => {
        const stream = await connection.newStream(GOSSIP)
        send(stream, varint(100 * 1024 * 1024))
        for (let at = 0; at < 64; at++) {
          send(stream, new Uint8Array(64 * 1024))
          await sleep(5)
        }
      }),
    ]),
  /** A hundred peers of the run, from one address, that hold their places and do no work. */
  identities: async () => {
    for (let at = 0; at < 100; at++) {
      await createPeer(undefined, targets)
      await sleep(50)
    }
    await new Promise(() => {})
  },
  /** Half a core's work that concerns nobody. */
  nobody: async () => {
    for (;;) {
      for (const end = performance.now() + 5; performance.now() < end; );
      await sleep(5)
    }
  },
}

const attack = attacks[kind]
if (attack === undefined) throw new Error(`an attack is one of ${Object.keys(attacks).join(', ')}`)
await attack()
