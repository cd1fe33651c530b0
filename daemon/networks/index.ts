/** Networks by name or file: which bootstrap nodes and which DHT the peers of a run find each other through. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { NETWORK_NAME, StarlingError } from '../../protocols/index.ts'
import { type NetworkDefinition, parseNetwork } from './definition.ts'

export { type NetworkDefinition, parseNetwork } from './definition.ts'

/** Definitions that come with the program, beside its package.json: three folders above the compiled file. */
const SHIPPED = fileURLToPath(new URL('../../../networks/', import.meta.url))

/** Names of the networks that come with the program. */
export function shippedNetworks(): string[] {
  return readdirSync(SHIPPED)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort()
}

/**
 * The network with that name among those that come with the program, or the one that a file defines. Throws StarlingError
 * 'unknown-network', 'bad-network'.
 */
export function loadNetwork(nameOrFile: string): NetworkDefinition {
  const shipped = NETWORK_NAME.test(nameOrFile) && shippedNetworks().includes(nameOrFile)
  const path = shipped ? `${SHIPPED}${nameOrFile}.yaml` : nameOrFile
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const known = shippedNetworks().join(', ')
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message
    const message = `--network ${nameOrFile} is none of ${known}, none, nor a file that defines one: ${why}`
    throw new StarlingError('unknown-network', message, { network: nameOrFile }, { cause: error })
  }
  return parseNetwork(text, path)
}

/**
 * The network to be on: what the user names ('none' for none), else that of the link. Throws StarlingError 'other-network' when link and user name
 * different ones, and 'unknown-network' when the link's is not known and nothing else in the link helps.
 */
export function chooseNetwork(
  named: string | undefined,
  link?: { network?: string; peers: readonly string[]; via?: readonly string[] },
): NetworkDefinition | undefined {
  if (named === 'none') return undefined
  const chosen = named === undefined ? undefined : loadNetwork(named)
  const linked = link?.network
  if (linked === undefined || chosen?.name === linked) return chosen
  if (chosen !== undefined) {
    const message = `the link is for network ${linked}, and --network says ${chosen.name}; leave --network out, or take a link for ${chosen.name}`
    throw new StarlingError('other-network', message, { link: linked, network: chosen.name })
  }
  if (shippedNetworks().includes(linked)) return loadNetwork(linked)
  if ((link?.peers.length ?? 0) + (link?.via?.length ?? 0) > 0) return undefined
  const message = `the link is for network ${linked}, which this program does not know: name the file that defines it with --network`
  throw new StarlingError('unknown-network', message, { network: linked })
}
