/** How a node finds the peers of its run, from the flags and the link: the network it is on, and the key that it needs. */
import { type RunLink, StarlingError } from '../../protocols/index.ts'
import type { NodeOptions } from '../types.ts'
import type { NodeFlags } from './options.ts'
import { readUserFile } from './run-file.ts'

/** Longest file that is read as a key, bytes: it has 64 digits and a line break. */
const MAX_KEY_FILE = 256

/**
 * The options with bootstrap nodes and DHT of the network that the flags name, else of the link's, and with the pre-shared key. Throws
 * StarlingError 'unknown-network', 'bad-network', 'other-network', 'bad-key', 'file-missing', 'file-unreadable'.
 */
export async function discoveryOf(options: NodeOptions, flags: NodeFlags, link?: RunLink): Promise<NodeOptions> {
  const { chooseNetwork } = await import('../networks/index.ts')
  const network = chooseNetwork(flags.network, link)
  const bootstrap = [...new Set([...options.bootstrap, ...(network?.bootstrap ?? [])])]
  const { dht } = network ?? {}
  return {
    ...options,
    bootstrap,
    ...(network === undefined ? {} : { network: network.name }),
    ...(dht === undefined ? {} : { dht: { ...dht, mode: 'client', bootstrap: [...dht.bootstrap, ...bootstrap] } }),
    ...(flags.psk === undefined ? {} : { preSharedKey: await readKey(flags.psk) }),
  }
}

async function readKey(path: string): Promise<Uint8Array> {
  const { parseKey } = await import('../network/index.ts')
  const bytes = readUserFile(path)
  if (bytes.byteLength > MAX_KEY_FILE)
    throw new StarlingError('bad-key', `${path} holds no key: it is too long`, { path })
  return parseKey(new TextDecoder().decode(bytes), path)
}
