/** What two peers tell each other first: their version, their run, their addresses, and others they know. */
import { z } from 'zod'
import { defineMessage, StarlingError } from '../../protocols/index.ts'
import { PROOF_LENGTH } from './discovery/index.ts'

/**
 * Version of what peers of a run say to each other, methods, topics and messages together. Raised by every change that a peer of the version before does
 * not understand; peers of different versions tell each other so and part. docs/decisions/versions.md
 */
export const PROTOCOL_VERSION = 1

/** The only method that a peer answers before it knows that the asker is of its run. */
export const HELLO = 'network/hello'

/** Longest text of an address, its peer id included. */
export const MAX_ADDRESS_LENGTH = 256
/** Addresses of one peer. */
export const MAX_ADDRESSES = 8
/** Peers in one hello. */
export const MAX_INTRODUCED = 32
/** Bootstrap nodes in one hello. */
export const MAX_BOOTSTRAPS = 4

/** Those of the addresses that others take. */
export const sayable = (all: readonly string[]): string[] =>
  all.filter((one) => one.length <= MAX_ADDRESS_LENGTH).slice(0, MAX_ADDRESSES)

const address = z.string().min(1).max(MAX_ADDRESS_LENGTH)
const addresses = z.array(address).max(MAX_ADDRESSES)
const peerName = z.string().min(8).max(128)

export interface Hello {
  /** Stands in the hello of every version there will ever be, beside whatever else. */
  version: number
  run: string
  addresses: string[]
  /** Peers of the run that the speaker is connected with. */
  peers: { peer: string; addresses: string[] }[]
  /** The speaker is in no run: a bootstrap node, which says of any run whom it knows of it. */
  role?: 'bootstrap' | undefined
  /** That the speaker has the run's pre-shared key: for the listener's eyes, see `proofOf`. */
  proof?: string | undefined
  /** Other bootstrap nodes that a bootstrap node is connected with. */
  bootstraps?: { peer: string; addresses: string[] }[] | undefined
}

const LIMITS = { maxBytes: 60 * 1024, maxItems: 1_024 }
const introduced = z.strictObject({ peer: peerName, addresses })

export const hello = defineMessage<Hello>(
  'hello',
  z.strictObject({
    version: z.number().int().min(1),
    run: z.string().min(1).max(128),
    addresses,
    peers: z.array(introduced).max(MAX_INTRODUCED),
    role: z.literal('bootstrap').optional(),
    proof: z.string().length(PROOF_LENGTH).optional(),
    bootstraps: z.array(introduced).max(MAX_BOOTSTRAPS).optional(),
  }),
  LIMITS,
)

/** What of a hello every version has. */
const versioned = defineMessage<{ version: number }>(
  'hello',
  z.looseObject({ version: z.number().int().min(1) }),
  LIMITS,
)

/**
 * Reads a hello of `peer`. Throws StarlingError 'other-version' for one of another version, whatever else it says, and 'bad-message' for what is no
 * hello.
 */
export function readHello(bytes: Uint8Array, peer: string, self: string): Hello {
  const { version } = versioned.decode(bytes)
  if (version !== PROTOCOL_VERSION) throw otherVersion(peer, String(version), self)
  return hello.decode(bytes)
}

/** Two peers cannot talk because their versions differ; the message is the same at both ends. */
export function otherVersion(peer: string, theirs: string, self: string): StarlingError {
  const message = `peer ${peer} speaks version ${theirs} of Starling's protocol and peer ${self} version ${PROTOCOL_VERSION}: the older one has to be updated`
  return new StarlingError('other-version', message, { peer, theirs, ours: PROTOCOL_VERSION })
}
