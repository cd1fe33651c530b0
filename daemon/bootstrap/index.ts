/** A bootstrap node as a process: identity and bans in a data folder, its network, and what it tells over HTTP. */
import '../shims.ts'
import { StarlingError } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import {
  type BootstrapLoad,
  BootstrapNetwork,
  type BootstrapNetworkOptions,
  loadOrCreateIdentity,
} from '../network/index.ts'
import { banStore } from '../node/known-peers.ts'
import { networkLog } from '../node/network.ts'
import { VERSION } from '../node/state.ts'
import { openDataFolder } from '../storage/index.ts'
import { createBootstrapMetrics } from './metrics.ts'
import { type BootstrapServer, serveBootstrap } from './server.ts'

export type { BootstrapReport } from './server.ts'

export interface BootstrapOptions
  extends Pick<BootstrapNetworkOptions, 'listen' | 'announce' | 'bootstrap' | 'dht' | 'relay' | 'maxPeers'> {
  /** Folder of the identity and the bans; locked while the node runs. */
  dataFolder: string
  /** Where status, health and metrics are served; port 0 picks a free one. */
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
  /** Resolves when somebody asks over HTTP that it stop; the rest is the caller's. */
  readonly asked: Promise<void>
  /** Stops in reverse order; the second call waits for the first. */
  stop(): Promise<void>
}

/**
 * Starts a bootstrap node. Throws StarlingError 'data-folder-in-use', 'data-folder-unusable', 'bad-identity', 'bad-address',
 * 'listen-failed', 'port-in-use', 'port-refused', 'address-unavailable'; nothing is left running then.
 */
export async function startBootstrap(options: BootstrapOptions, log: Log): Promise<RunningBootstrap> {
  const { dataFolder, api, ...rest } = options
  const startedAt = performance.now()
  const folder = await openDataFolder(dataFolder)
  let server: BootstrapServer | undefined
  let network: BootstrapNetwork | undefined
  let stopping: Promise<void> | undefined
  const running = (): BootstrapNetwork => {
    if (stopping !== undefined) throw new StarlingError('stopping', 'the node stops')
    if (network === undefined) throw new StarlingError('not-ready', 'the node starts')
    return network
  }
  const asked = Promise.withResolvers<void>()
  // What tells of it stands before the network and ends after it, so that whoever waits for the end waits for all of it.
  const stop = async (): Promise<void> => {
    await network?.stop()
    await server?.close()
    await folder.close()
  }
  try {
    const identity = await loadOrCreateIdentity(folder.path)
    server = await serveBootstrap(
      { ...api, dataFolder: folder.path },
      {
        metrics: createBootstrapMetrics(() => running().load()),
        report: () => ({
          role: 'bootstrap',
          peer: running().self,
          version: VERSION,
          addresses: running().addresses(),
          ...(rest.dht === undefined ? {} : { dhtProtocol: rest.dht.protocol }),
          ...running().load(),
          pid: process.pid,
          uptimeSeconds: (performance.now() - startedAt) / 1_000,
          memory: { rss: process.memoryUsage.rss() },
          dataFolder: folder.path,
        }),
        stop: asked.resolve,
        log: log.child('api'),
      },
    )
    const started = await BootstrapNetwork.start({
      ...rest,
      identity: identity.key,
      bans: banStore(folder, log),
      log: { ...networkLog(log.child('network')), info: (data, message) => log.info(message, data) },
    })
    network = started
    return {
      peer: started.self,
      addresses: () => started.addresses(),
      load: () => started.load(),
      url: server.url,
      asked: asked.promise,
      stop: () => {
        stopping ??= stop()
        return stopping
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}
