import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureWire, type WirePeer } from '../daemon/bench/spsa/wire.ts'
import { createMemoryNetwork } from '../simulator/index.ts'

function swarm(count: number, loss = 0): { network: ReturnType<typeof createMemoryNetwork>; peers: WirePeer[] } {
  const network = createMemoryNetwork({ seed: 1, gossip: 'mesh', loss })
  const peers = Array.from({ length: count }, () => {
    const transport = network.join()
    return { transport, sent: () => ({ wire: transport.sent, gossip: transport.gossip.streamBytes }) }
  })
  return { network, peers }
}

test('the bytes of a gradient are those of its message, shared by the gradients in it', async () => {
  const { network, peers } = swarm(8)
  const { heartbeats, idle, batches } = await network.clock.run(measureWire(peers, { messages: 4 }))
  assert.ok(idle > 0 && heartbeats > idle)
  const [one, sixteen, many] = batches as [(typeof batches)[0], (typeof batches)[0], (typeof batches)[0]]
  assert.deepEqual(
    batches.map(({ batch, gradients }) => [batch, gradients]),
    [1, 16, 64].map((batch) => [batch, 8 * 4 * batch]),
  )
  // Each message has its signature twice (the router's and the history's), and everybody gets it several times.
  assert.ok(one.perPeer > 2 * 64 * 4 && one.perPeer < 5_000, `${one.perPeer} bytes`)
  // The bytes of a message that are not gradients are the same for every batch.
  const fixed = ({ batch, perPeer }: { batch: number; perPeer: number }): number => batch * perPeer
  assert.ok(fixed(sixteen) < 1.2 * fixed(one) && fixed(many) > fixed(one))
  for (const { gossip, sync, perPeer, perSwarm } of batches) {
    assert.ok(gossip + sync < perPeer && sync >= 0 && perSwarm === 8 * perPeer)
  }
})

test('what gossip loses is fetched, and counted apart from the comparisons of equal sets', async () => {
  const measure = async (loss: number): Promise<number> => {
    const { network, peers } = swarm(4, loss)
    const { batches } = await network.clock.run(measureWire(peers, { messages: 4, batches: [16] }))
    return batches[0]!.sync
  }
  const [none, some] = [await measure(0), await measure(0.5)]
  assert.ok(none >= 0 && some > none, `${none} bytes, and ${some} with loss`)
  // A byte that is fetched comes with its share of a question and a version vector.
  assert.ok(some > 0.5 && some < 200, `${some} bytes`)
})

test('peers that cannot reach each other are not measured', async () => {
  const { network, peers } = swarm(4)
  network.partition(['peer-0', 'peer-1'], ['peer-2', 'peer-3'])
  await assert.rejects(network.clock.run(measureWire(peers)), { code: 'bench-stuck' })
})
