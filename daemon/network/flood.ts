/**
 * Limits on what one peer's gossip may cost, in front of the router, which has none: frames and bytes before they are decoded, messages before their
 * signatures are checked. Honest peers stay far below; who does not is disconnected, and banned when it comes back and goes on.
 */
import type { GossipSub } from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'
import { type Clock, type PeerName, RateLimit, StarlingError } from '../../protocols/index.ts'
import type { Ledger } from './ledger.ts'

/** Rates of one peer per second, and at once after a rest. A frame may carry many messages or none. */
export interface FloodLimits {
  frames: { rate: number; burst: number }
  bytes: { rate: number; burst: number }
  messages: { rate: number; burst: number }
  /** Topics subscribed to or left, whether or not this run has them. */
  subscriptions: { rate: number; burst: number }
}

/** A message costs a check of its signature, about 0.2 ms: one peer can take a fifth of a core at most. */
export const FLOOD_LIMITS: FloodLimits = {
  frames: { rate: 1_000, burst: 5_000 },
  bytes: { rate: 8 * 1024 ** 2, burst: 32 * 1024 ** 2 },
  messages: { rate: 1_000, burst: 5_000 },
  // An honest peer says its dozen topics once a connection; a few megabytes a second of others took a third of a core (measured).
  subscriptions: { rate: 10, burst: 500 },
}

/** Points for a flood that had its stream closed: the first disconnects, the second within some minutes bans. */
const FLOOD_POINTS = 25
/** Points for a message over the rate, which is dropped: an honest peer may forward more than its share for a moment. */
const MESSAGE_POINTS = 0.02
/** Peers whose rates are remembered. */
const MAX_PEERS = 1_024

type Frames = AsyncIterable<{ byteLength: number }>
type Reader = (peer: PeerId, frames: Frames) => Promise<void>
type Handler = (from: PeerId, rpc: { messages: unknown[]; subscriptions: unknown[] }) => Promise<void>

export interface FloodParts {
  ledger: Ledger
  clock: Clock
  limits?: FloodLimits
}

/** Puts the limits in front of a router. Throws 'unknown-router' when it is not built as expected: its version is pinned, and its options offer no such hook. */
export function limitFloods(router: GossipSub, { ledger, clock, limits = FLOOD_LIMITS }: FloodParts): void {
  const frames = new RateLimit({ ...limits.frames, keys: MAX_PEERS })
  const bytes = new RateLimit({ ...limits.bytes, keys: MAX_PEERS })
  const messages = new RateLimit({ ...limits.messages, keys: MAX_PEERS })
  const subscriptions = new RateLimit({ ...limits.subscriptions, keys: MAX_PEERS })
  const inside = router as unknown as { pipePeerReadStream?: Reader; handleReceivedRpc?: Handler }
  const { pipePeerReadStream: read, handleReceivedRpc: handle } = inside
  if (typeof read !== 'function' || typeof handle !== 'function') {
    throw new StarlingError('unknown-router', 'this version of the gossip router cannot be limited', {})
  }

  async function* metered(peer: PeerName, source: Frames): Frames & AsyncGenerator<{ byteLength: number }> {
    try {
      for await (const frame of source) {
        const now = clock.now()
        if (!frames.allow(peer, 1, now) || !bytes.allow(peer, frame.byteLength, now)) {
          ledger.reject(peer, 'rate-limit', 'a flood of gossip', FLOOD_POINTS)
          return
        }
        yield frame
      }
    } catch (error) {
      if ((error as Error).name === 'InvalidDataLengthError') {
        ledger.reject(peer, 'too-large', `a frame of gossip: ${(error as Error).message}`)
      }
      throw error
    }
  }

  inside.pipePeerReadStream = (peer, source) => read.call(router, peer, metered(peer.toString(), source))
  inside.handleReceivedRpc = (from, rpc) => {
    const peer = from.toString()
    const now = clock.now()
    if (rpc.subscriptions.length > 0 && !subscriptions.allow(peer, rpc.subscriptions.length, now)) {
      ledger.reject(peer, 'rate-limit', 'a flood of subscriptions', FLOOD_POINTS)
      return Promise.resolve()
    }
    if (rpc.messages.length > 0 && !messages.allow(peer, rpc.messages.length, now)) {
      ledger.reject(peer, 'rate-limit', 'more gossip than allowed', MESSAGE_POINTS * rpc.messages.length)
      return handle.call(router, from, { ...rpc, messages: [] })
    }
    return handle.call(router, from, rpc)
  }
}
