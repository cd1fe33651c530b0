import '../shims.ts'
import assert from 'node:assert/strict'
import { it, mock } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { quietLog } from '../log/index.ts'
import { createNetwork, type Network } from '../network/index.ts'
import type { DataFolder } from '../storage/index.ts'
import { loadKnownPeers } from './known-peers.ts'

/** A data folder that keeps its records in memory. */
function memoryFolder(): DataFolder {
  const records = new Map<string, Uint8Array>()
  return {
    records: () => ({
      get: async (key: string) => records.get(key),
      put: async (key: string, value: Uint8Array) => void records.set(key, value),
    }),
  } as unknown as DataFolder
}

it('a peer that has met many others can start again with what it remembers of them', async () => {
  const folder = memoryFolder()
  const peers = Array.from({ length: 100 }, (_, n) => `peer${n}`)
  const met = {
    connected: () => peers,
    addressesOf: (peer: string) =>
      Array.from({ length: 4 }, (_, n) => `/ip4/192.0.2.${n + 1}/tcp/${1_000 + peers.indexOf(peer)}`),
    onConnections: () => () => {},
  } as unknown as Network
  const before = await loadKnownPeers(folder, quietLog)
  before.watch(met)()
  await before.save()

  const after = await loadKnownPeers(folder, quietLog)
  const addresses = after.addresses()
  assert.equal(new Set(addresses.map((address) => address.split('/p2p/')[1])).size, addresses.length, 'one of each')
  assert.match(addresses[0] as string, /peer99$/)
  const network = await createNetwork({
    identity: await generateKeyPair('Ed25519'),
    run: 'bafytestrun',
    topics: ['news'],
    listen: [],
    // Names of peers that are none are of no use to libp2p.
    bootstrap: addresses.map((address) => address.split('/p2p/')[0] as string),
  })
  await network.stop()
})

it('a process that is killed has written down whom it met', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const folder = memoryFolder()
    let connected = (): void => {}
    const network = {
      connected: () => ['somebody'],
      addressesOf: () => ['/ip4/192.0.2.1/tcp/1000'],
      onConnections: (listener: () => void) => {
        connected = listener
        return () => {}
      },
    } as unknown as Network
    const stop = (await loadKnownPeers(folder, quietLog)).watch(network)
    connected()
    mock.timers.tick(10_000)
    const { addresses } = await loadKnownPeers(folder, quietLog)
    assert.deepEqual(addresses(), ['/ip4/192.0.2.1/tcp/1000/p2p/somebody'])
    stop()
  } finally {
    mock.timers.reset()
  }
})
