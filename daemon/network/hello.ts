/** What two peers tell each other first: their run, their addresses, and others they know. */
import { z } from 'zod'
import { defineMessage } from '../../protocols/index.ts'

/** The only method that a peer answers before it knows that the asker is of its run. */
export const HELLO = 'network/hello'

/** Longest text of an address, its peer id included. */
export const MAX_ADDRESS_LENGTH = 256
/** Addresses of one peer. */
export const MAX_ADDRESSES = 8
/** Peers in one hello. */
export const MAX_INTRODUCED = 32

/** Those of the addresses that others take. */
export const sayable = (all: readonly string[]): string[] =>
  all.filter((one) => one.length <= MAX_ADDRESS_LENGTH).slice(0, MAX_ADDRESSES)

const address = z.string().min(1).max(MAX_ADDRESS_LENGTH)
const addresses = z.array(address).max(MAX_ADDRESSES)
const peerName = z.string().min(8).max(128)

export interface Hello {
  run: string
  addresses: string[]
  /** Peers of the run that the speaker is connected with. */
  peers: { peer: string; addresses: string[] }[]
  /** The speaker is in no run: a bootstrap node, which says of any run whom it knows of it. */
  role?: 'bootstrap' | undefined
}

export const hello = defineMessage<Hello>(
  'hello',
  z.strictObject({
    run: z.string().min(1).max(128),
    addresses,
    peers: z.array(z.strictObject({ peer: peerName, addresses })).max(MAX_INTRODUCED),
    role: z.literal('bootstrap').optional(),
  }),
  { maxBytes: 60 * 1024, maxItems: 1_024 },
)
