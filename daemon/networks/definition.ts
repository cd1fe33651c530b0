/** What a network is: the file that names its bootstrap nodes and its DHT. */
import * as z from 'zod'
import { NETWORK_NAME, type Problem, parseManifest, problemsOf, StarlingError } from '../../protocols/index.ts'
import { parseAddress } from '../network/index.ts'

/** Version of the file's form. */
const DEFINITION_VERSION = 1

/** Most bootstrap nodes of a network, and of its DHT. */
export const MAX_NODES = 16

/** How peers of a network find each other. */
export interface NetworkDefinition {
  version: typeof DEFINITION_VERSION
  /** Its name, which links carry. */
  name: string
  /** For people. */
  description?: string | undefined
  /** Multiaddrs of its bootstrap nodes, with /p2p/ or without. */
  bootstrap: string[]
  dht?:
    | {
        /** Protocol id: a network's own DHT has its own. */
        protocol: string
        /** Multiaddrs of nodes of the DHT, beside the bootstrap nodes. */
        bootstrap: string[]
        /** Take addresses of this machine and of private networks as well. */
        private: boolean
      }
    | undefined
}

const address = z.string().superRefine((text, context) => {
  try {
    parseAddress(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: `must be a multiaddr: ${(error as Error).message}` })
  }
})
const nodes = z.array(address).max(MAX_NODES).default([])
const named = (pattern: RegExp, what: string): z.ZodString =>
  z.string().regex(pattern, { error: (issue) => `must be ${what}, not ${JSON.stringify(issue.input)}` })

const schema = z.strictObject({
  version: z.literal(DEFINITION_VERSION),
  name: named(NETWORK_NAME, 'up to 32 small letters, digits and dashes'),
  description: z.string().max(200).optional(),
  bootstrap: nodes,
  dht: z
    .strictObject({
      protocol: named(/^(\/[a-z0-9._-]{1,32}){1,6}$/, 'a protocol id such as /my-network/kad/1.0.0'),
      bootstrap: nodes,
      private: z.boolean().default(false),
    })
    .optional(),
})

/**
 * Reads a network's definition. Throws StarlingError 'bad-network' with one line that names the file, the line, the key and what is
 * allowed.
 */
export function parseNetwork(text: string, fileName: string): NetworkDefinition {
  try {
    return parseManifest(text, { check }, fileName)
  } catch (error) {
    if (!(error instanceof StarlingError)) throw error
    throw new StarlingError('bad-network', error.message, error.data, { cause: error })
  }
}

function check(value: unknown): { manifest: NetworkDefinition } | { problems: Problem[] } {
  const { found, data } = problemsOf(schema, value, [])
  if (data === undefined) return { problems: found }
  if (data.bootstrap.length > 0 || data.dht !== undefined) return { manifest: data }
  const message = 'is missing: a network has bootstrap nodes, a dht, or both'
  return { problems: [{ path: ['bootstrap'], message }] }
}
