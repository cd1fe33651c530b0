/** Real nodes in this process, connected over the loopback interface: what the benchmarks of the network measure. */
import '../shims.ts'
import { setTimeout as delay } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { StarlingError } from '../../protocols/index.ts'
import { createLibp2pNetwork, type Libp2pNetwork } from '../network/network.ts'

/** A manifest's CID has as many characters; the run's name is a part of every message. */
export const BENCH_RUN = `bafkrei${'a'.repeat(52)}`

/** Nodes find each other and fill their meshes within this, milliseconds; a hundred on two cores take half of it. */
const SETTLE_TIMEOUT = 120_000

/** The router's heartbeats after which meshes stay as they are, milliseconds: it balances them once a second. */
const SETTLE = 4_000

export interface Loopback {
  nodes: Libp2pNetwork[]
  /** Waits until every node is connected to enough others and the meshes of the topics heard by then had time to settle. */
  settled(signal?: AbortSignal): Promise<void>
  stop(): Promise<void>
}

/** Starts nodes that know the first one's address. Throws the signal's reason, 'listen-failed', and from `settled` 'bench-stuck'. */
export async function startLoopback(count: number, topics: readonly string[], signal?: AbortSignal): Promise<Loopback> {
  const nodes: Libp2pNetwork[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  try {
    for (let number = 0; number < count; number++) {
      const node = await createLibp2pNetwork(
        {
          identity: await generateKeyPair('Ed25519'),
          run: BENCH_RUN,
          topics,
          listen: ['/ip4/127.0.0.1/tcp/0'],
          bootstrap: nodes[0]?.addresses() ?? [],
        },
        signal,
      )
      nodes.push(node)
      await node.start(signal)
    }
  } catch (error) {
    await stop()
    throw error
  }
  return {
    nodes,
    stop,
    async settled(waiting) {
      // With more nodes than that the peer manager is content before everybody knows everybody.
      const enough = Math.min(count - 1, 12)
      const end = Date.now() + SETTLE_TIMEOUT
      while (nodes.some((node) => node.connected().length < enough)) {
        if (Date.now() > end) {
          throw new StarlingError('bench-stuck', `${count} nodes did not find each other in ${SETTLE_TIMEOUT} ms`, {
            count,
          })
        }
        await delay(50, undefined, { signal: waiting })
      }
      await delay(SETTLE, undefined, { signal: waiting })
    },
  }
}
