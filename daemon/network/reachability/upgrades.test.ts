import '../../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { type Clock, seededRandom } from '../../../protocols/index.ts'
import { bestOf } from '../connections.ts'
import { until } from '../testing.ts'
import type { NetworkLog } from '../types.ts'
import { Upgrades } from './upgrades.ts'

const PEER = '12D3KooWP9z6u12x3tBKYJ7bswCj6drjXrXAWwXwscPeJbEECFVL'
const RELAY = '/ip4/44.128.0.10/tcp/7400/p2p/12D3KooWALEortkfsvWMR9C4GEzQcpAv74uqubSmoDgVjs1vPxB5/p2p-circuit'

/** A connection that is open at this end and answers nothing. */
const silent = (address: string, id: string) => {
  const connection = {
    id,
    status: 'open',
    remotePeer: PEER,
    remoteAddr: multiaddr(address),
    timeline: { open: 0 },
    newStream: (_protocol: string, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    abort() {
      connection.status = 'aborted'
    },
    async close() {
      connection.status = 'closed'
    },
  }
  return connection
}

/** One end of a relayed connection, to whose other end a dial makes connections over which nothing comes. */
function startEnd(stopped: AbortSignal) {
  const relayed = silent(`${RELAY}/p2p/${PEER}`, 'relayed')
  const all = [relayed]
  const dials: number[] = []
  let now = 0
  let moved = 0
  const open = (): Connection[] => all.filter(({ status }) => status === 'open') as unknown as Connection[]
  const appear = () => {
    const connection = silent(`/webrtc/p2p/${PEER}`, `direct ${all.length}`)
    all.push(connection)
    return connection
  }
  const dial = async (): Promise<unknown> => {
    dials.push(now)
    return appear()
  }
  const upgrades = new Upgrades({
    self: '12D3KooWA',
    libp2p: { getConnections: open, dial } as unknown as Libp2p,
    clock: { now: () => now } as Clock,
    random: seededRandom(1),
    log: { debug: () => {}, info: () => {} } as unknown as NetworkLog,
    known: () => [multiaddr(`${RELAY}/webrtc/p2p/${PEER}`)],
    moved: () => void moved++,
    dialled: () => {},
    confirmTimeout: 5,
    signal: stopped,
  })
  return {
    all,
    dials,
    open,
    appear,
    relayed,
    moved: () => moved,
    /** A heartbeat. */
    beat() {
      now += 1_000
      upgrades.look()
    },
  }
}

test('a direct connection over which nothing comes never takes the place of the relayed one, and is tried more and more seldom', async (t) => {
  const end = startEnd(t.signal)
  for (let count = 1; count <= 4; count++) {
    await until(() => {
      end.beat()
      return end.dials.length === count
    }, 'an attempt')
    const direct = end.all.at(-1)
    assert.equal(bestOf(end.open())?.id, 'relayed')
    for (let n = 0; n < 20; n++) end.beat()
    await until(() => direct?.status === 'aborted', 'the connection to be given up')
  }
  const [first = 0, second = 0, third = 0] = end.dials.slice(1).map((at, n) => at - (end.dials[n] as number))
  assert.ok(first < second && second < third, `${first} ${second} ${third}`)
  assert.deepEqual([end.relayed.status, end.moved()], ['open', 0])
})

test('nor does one that the other end began', async (t) => {
  const end = startEnd(t.signal)
  const direct = end.appear()
  assert.equal(bestOf(end.open())?.id, 'relayed')
  for (let n = 0; n < 20; n++) end.beat()
  await until(() => direct.status === 'aborted', 'the connection to be given up')
  assert.deepEqual([end.relayed.status, end.moved(), end.dials.length], ['open', 0, 0])
})
