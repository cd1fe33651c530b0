/** Finding the run: the network of this node, and the run's manifest, from a peer if need be. */
import { HEARTBEAT_TOPIC, StarlingError } from '../../protocols/index.ts'
import { NEWS_TOPIC } from '../events/index.ts'
import type { Log } from '../log/index.ts'
import { createNetwork, type Identity, type Network } from '../network/index.ts'
import type { Run } from '../run/index.ts'
import type { DataFolder } from '../storage/index.ts'
import type { NodeOptions } from '../types.ts'
import type { ChosenRun } from './choose-run.ts'
import { joinRun } from './join.ts'
import { banStore, type KnownPeers } from './known-peers.ts'
import { networkLog } from './network.ts'

/** What the network of a node is made from. */
export interface ConnectParts {
  options: NodeOptions
  identity: Identity
  folder: DataFolder
  known: KnownPeers
  log: Log
  /** A network was made, which is about to be started: a joiner's first one is for the manifest alone. */
  opened(network: Network): void
}

/**
 * Opens the network of the chosen run and resolves once it listens, with the run itself. Throws as {@link joinRun} and the network's start,
 * 'bad-link' when there is nothing to find the run by, and 'key-missing' or 'key-needless' when the user's key does not fit the run.
 */
export async function connect(
  chosen: ChosenRun,
  parts: ConnectParts,
  signal: AbortSignal,
): Promise<{ network: Network; run: Run }> {
  const { link } = chosen
  const { options, known, identity, folder } = parts
  const bootstrap = [
    ...new Set([...options.bootstrap, ...(link?.via ?? []), ...(link?.peers ?? []), ...known.addresses()]),
  ]
  if (chosen.run === undefined && !options.mdns && options.dht === undefined) {
    if (bootstrap.length === 0) {
      const message = `the link names no peer and no bootstrap node: add one with --bootstrap, or look for peers with --mdns or --network`
      throw new StarlingError('bad-link', message, { run: chosen.id })
    }
    if (bootstrap.every((address) => address.endsWith(`/p2p/${identity.peer}`))) {
      const message = `the link leads to this very peer, whose key ${folder.path} holds: ask another peer for a link, or move identity.key away to join as a new peer`
      throw new StarlingError('bad-link', message, { run: chosen.id, peer: identity.peer })
    }
  }
  const run = chosen.run ?? (await askForRun(chosen.id, bootstrap, parts, signal))
  return { network: await openNetwork(run.id, run, bootstrap, parts, signal), run }
}

/** Who may take part and which topics there are stands in the manifest, so the network proper is made after it was read over this one. */
async function askForRun(
  id: string,
  bootstrap: readonly string[],
  parts: ConnectParts,
  signal: AbortSignal,
): Promise<Run> {
  const network = await openNetwork(id, undefined, bootstrap, parts, signal)
  try {
    return await joinRun(id, { network, log: parts.log, tried: bootstrap }, signal)
  } finally {
    await network.stop()
  }
}

async function openNetwork(
  id: string,
  run: Run | undefined,
  bootstrap: readonly string[],
  { options, identity, folder, log, opened }: ConnectParts,
  signal: AbortSignal,
): Promise<Network> {
  if (run !== undefined) checkKey(run, options)
  const network = await createNetwork({
    identity: identity.key,
    run: id,
    topics: [HEARTBEAT_TOPIC, NEWS_TOPIC, ...(run?.strategy.topics ?? [])],
    listen: options.listen,
    announce: options.announce,
    bootstrap: [...bootstrap],
    mdns: options.mdns,
    ...(options.dht === undefined ? {} : { dht: options.dht }),
    ...(options.preSharedKey === undefined ? {} : { preSharedKey: options.preSharedKey }),
    ...(options.relay === undefined ? {} : { relay: options.relay, autonat: true }),
    ...(options.upnp === undefined ? {} : { upnp: options.upnp }),
    ...(options.webrtc === undefined ? {} : { webrtc: options.webrtc }),
    ...(run?.manifest.admission.mode === 'allow-list'
      ? { admission: { kind: 'allow-list', peers: run.manifest.admission.peers } }
      : {}),
    bans: banStore(folder, log),
    log: networkLog(log.child('network')),
  })
  opened(network)
  await network.start(signal)
  return network
}

/** A key is for a run that asks for one: without it nobody would talk to this peer, and with a needless one it would talk to nobody. */
function checkKey(run: Run, { preSharedKey }: NodeOptions): void {
  const asked = run.manifest.admission.mode === 'pre-shared-key'
  if (asked === (preSharedKey !== undefined)) return
  if (asked) {
    const message = `run ${run.manifest.name} asks for a pre-shared key: name the file that holds it with --psk`
    throw new StarlingError('key-missing', message, { run: run.id })
  }
  const message = `--psk was given, but run ${run.manifest.name} asks for no pre-shared key (its admission is ${run.manifest.admission.mode})`
  throw new StarlingError('key-needless', message, { run: run.id })
}
