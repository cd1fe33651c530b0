import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Libp2p } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { Counters } from './counters.ts'
import { Dialler } from './dialler.ts'
import type { NetworkLog } from './types.ts'

const PEER = '12D3KooWP9z6u12x3tBKYJ7bswCj6drjXrXAWwXwscPeJbEECFVL'
const RELAY = '/ip4/44.128.0.10/tcp/7400/p2p/12D3KooWALEortkfsvWMR9C4GEzQcpAv74uqubSmoDgVjs1vPxB5/p2p-circuit'
const RELAYED = `${RELAY}/p2p/${PEER}`
const WEBRTC = `${RELAY}/webrtc/p2p/${PEER}`
const HOME = `/ip4/10.1.0.11/tcp/7400/p2p/${PEER}`

/** What is dialled, call by call, for a peer that answers through its relay only. */
async function dialled(addresses: readonly string[], signal: AbortSignal): Promise<string[][]> {
  const calls: string[][] = []
  const dial = async (asked: Multiaddr[]): Promise<unknown> => {
    calls.push(asked.map(String))
    if (!asked.some((address) => address.toString() === RELAYED)) throw new Error('nobody answers')
    return { remotePeer: PEER }
  }
  const log = { debug: () => {} } as unknown as NetworkLog
  const dialler = new Dialler({ libp2p: { dial } as unknown as Libp2p, counters: new Counters(), log, signal })
  const found = await dialler.attempt(
    PEER,
    addresses.map((address) => multiaddr(address)),
  )
  assert.equal(found, PEER)
  return calls
}

test('direct addresses are dialled before those of relays, and WebRTC not at all: a connection through the relay comes first', async (t) => {
  assert.deepEqual(await dialled([RELAYED, WEBRTC, HOME], t.signal), [[HOME], [RELAYED]])
  assert.deepEqual(await dialled([WEBRTC], t.signal), [[RELAYED]])
})
