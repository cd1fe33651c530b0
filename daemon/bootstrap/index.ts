/** A bootstrap node as a process: identity and bans in a data folder, its network, and what it tells over HTTP. */
import '../shims.ts'
import type { Log } from '../log/index.ts'
import {
  type BootstrapLoad,
  BootstrapNetwork,
  type BootstrapNetworkOptions,
  loadOrCreateIdentity,
} from '../network/index.ts'
import { banStore } from '../node/known-peers.ts'
import { networkLog } from '../node/network.ts'
import { openDataFolder } from '../storage/index.ts'
import { createBootstrapMetrics } from './metrics.ts'
import { serveBootstrap } from './server.ts'

export interface BootstrapOptions
  extends Pick<BootstrapNetworkOptions, 'listen' | 'announce' | 'bootstrap' | 'dht' | 'relay' | 'maxPeers'> {
  /** Folder of the identity and the bans; locked while the node runs. */
  dataFolder: string
  /** Where health and metrics are served; port 0 picks a free one. */
  api: { host: string; port: number }
}

/** A bootstrap node that runs. */
export interface RunningBootstrap {
  readonly peer: string
  /** Multiaddrs to give to others, each ending in /p2p/<peer>. */
  addresses(): string[]
  load(): BootstrapLoad
  /** URL of GET /health and /metrics. */
  readonly url: string
  /** Stops in reverse order; the second call waits for the first. */
  stop(): Promise<void>
}

/**
 * Starts a bootstrap node. Throws StarlingError 'data-folder-in-use', 'data-folder-unusable', 'bad-identity', 'bad-address',
 * 'listen-failed', 'port-in-use', 'address-unavailable'; nothing is left running then.
 */
export async function startBootstrap(options: BootstrapOptions, log: Log): Promise<RunningBootstrap> {
  const { dataFolder, api, ...rest } = options
  const folder = await openDataFolder(dataFolder)
  let network: BootstrapNetwork | undefined
  try {
    const identity = await loadOrCreateIdentity(folder.path)
    const bans = banStore(folder, log)
    const running = await BootstrapNetwork.start({
      ...rest,
      identity: identity.key,
      bans,
      log: { ...networkLog(log.child('network')), info: (data, message) => log.info(message, data) },
    })
    network = running
    const server = await serveBootstrap(api, {
      metrics: createBootstrapMetrics(() => running.load()),
      state: () => ({ peer: running.self, addresses: running.addresses(), ...running.load() }),
    })
    let stopping: Promise<void> | undefined
    const stop = async (): Promise<void> => {
      await server.close()
      await running.stop()
      await folder.close()
    }
    return {
      peer: running.self,
      addresses: () => running.addresses(),
      load: () => running.load(),
      url: server.url,
      stop: () => {
        stopping ??= stop()
        return stopping
      },
    }
  } catch (error) {
    await network?.stop()
    await folder.close()
    throw error
  }
}
