#!/usr/bin/env node
/**
 * Bytes on the wire per gradient of the strategy `spsa` in the simulator, for swarms too large to start here: what `starling bench spsa
 * --part wire` measures with real nodes, over the simulator's gossip mesh. Prints one JSON object per swarm.
 *
 *   npm run build && node scripts/bench/spsa-wire.js [--peers 4,16,64] [--batches 1,16,64] [--messages 10] [--seed 1]
 */
import { parseArgs } from 'node:util'
import { measureWire } from '../../dist/daemon/bench/spsa/wire.js'
import { createMemoryNetwork } from '../../dist/simulator/index.js'

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '4,16,64' },
    batches: { type: 'string', default: '1,16,64' },
    messages: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
})
const numbers = (list) => list.split(',').map(Number)

for (const count of numbers(values.peers)) {
  const network = createMemoryNetwork({ seed: Number(values.seed), gossip: 'mesh' })
  const peers = Array.from({ length: count }, () => {
    const transport = network.join()
    return { transport, sent: () => ({ wire: transport.sent, gossip: transport.gossip.streamBytes }) }
  })
  const options = { batches: numbers(values.batches), messages: Number(values.messages) }
  console.log(JSON.stringify(await network.clock.run(measureWire(peers, options))))
}
