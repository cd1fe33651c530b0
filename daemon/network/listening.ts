/** Addresses that cannot be listened on, in words. */
import type { Multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../../protocols/index.ts'
import { parseAddress } from './addresses.ts'

/** What the system says, by its code, which libp2p hands on inside a longer text. */
const SYSTEM: readonly (readonly [code: string, words: string])[] = [
  ['EADDRINUSE', 'another program has that port; choose another, or 0 for a free one'],
  ['EACCES', 'it is not allowed; ports below 1024 need rights'],
  ['EADDRNOTAVAIL', 'that is no address of this machine'],
]

/** Reads an address to listen on. Throws 'bad-address' for what is none, and for one that no transport of ours listens on. */
export function parseListen(text: string): Multiaddr {
  const address = parseAddress(text)
  const names = address.getComponents().map(({ name }) => name)
  if (names.includes('tcp') || names.includes('p2p-circuit') || names.includes('webrtc')) return address
  const message = `'${text}' cannot be listened on: it has to be TCP, with /ws at its end for WebSockets, e.g. /ip4/0.0.0.0/tcp/7400`
  throw new StarlingError('bad-address', message, { address: text })
}

/** The error of a node that could not listen. */
export function listenFailed(listen: readonly string[], error: unknown): StarlingError {
  const text = error instanceof Error ? error.message : String(error)
  const why = SYSTEM.find(([code]) => text.includes(code))?.[1] ?? text.replaceAll(/\s+/g, ' ')
  const message = `cannot listen on ${listen.join(', ')}: ${why}`
  return new StarlingError('listen-failed', message, { listen: [...listen] }, { cause: error })
}
