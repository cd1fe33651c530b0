/**
 * Asking others whether this node can be dialled, and dialling those who ask.
 *
 * AutoNAT (libp2p's, which runs beside this) wants several peers in different networks before it says anything, and never says why. One bootstrap node
 * that has tried is enough to tell somebody what to do about a router. As in AutoNAT v1, only the address that the question came from is dialled,
 * so that nobody can be made to dial a third.
 */
import type { Libp2p } from '@libp2p/interface'
import { z } from 'zod'
import { type Clock, defineMessage, type PeerName, RateLimit, StarlingError } from '../../../protocols/index.ts'
import { hostOf, needsRelay, tryAddress, withPeer } from '../addresses.ts'
import type { AskService } from '../ask.ts'
import { directWith } from '../connections.ts'
import { MAX_ADDRESS_LENGTH } from '../hello.ts'

/** The method of the question. */
export const DIAL_BACK = 'network/dial-back'
/** Addresses in one question. */
export const MAX_DIALLED = 3
/** One dial, milliseconds: a machine that is busy training takes seconds for the handshakes. */
const DIAL_TIMEOUT = 8_000
/** Time for the answer, milliseconds. */
const ANSWER_TIMEOUT = (MAX_DIALLED + 1) * DIAL_TIMEOUT
/** Questions answered at once. */
const MAX_RUNNING = 8
/** Questions of one peer: one in ten seconds, four at once. */
const RATE = { rate: 0.1, burst: 4, keys: 1_024 }

const addresses = z.array(z.string().min(1).max(MAX_ADDRESS_LENGTH)).max(MAX_DIALLED)
const question = defineMessage<{ addresses: string[] }>('dial-back', z.strictObject({ addresses }), {
  maxBytes: 4 * 1024,
  maxItems: 32,
})

/** What a peer found. */
export interface DialBack {
  /** The host that the asker's connection comes from, as seen there: an IP number. */
  seenAt: string
  /** Those of the addresses that were dialled, and those of them at which the asker answered; the others are at another host. */
  tried: string[]
  reached: string[]
}

const answer = defineMessage<DialBack>(
  'dial-back-answer',
  z.strictObject({ seenAt: z.string().min(1).max(64), tried: addresses, reached: addresses }),
  { maxBytes: 8 * 1024, maxItems: 64 },
)

/** Asks a connected peer to dial these addresses of this node. Rejects as `ask` does, and when the peer knows of no direct connection. */
export async function askForDialBack(ask: AskService, peer: PeerName, own: readonly string[]): Promise<DialBack> {
  const said = question.encode({ addresses: own.slice(0, MAX_DIALLED) })
  return answer.decode(await ask.ask(peer, DIAL_BACK, said, { timeout: ANSWER_TIMEOUT }))
}

/** Answers such questions of connected peers. */
export function answerDialBack(ask: AskService, libp2p: Libp2p, clock: Clock): () => void {
  const perPeer = new RateLimit(RATE)
  let running = 0
  return ask.answer(DIAL_BACK, async (peer, asked, signal) => {
    const said = question.decode(asked)
    const connection = directWith(libp2p, peer)
    const seenAt = connection === undefined ? undefined : hostOf(connection.remoteAddr)
    if (seenAt === undefined) throw new StarlingError('no-direct-connection', 'you are connected through a relay only')
    if (running >= MAX_RUNNING || !perPeer.allow(peer, 1, clock.now()))
      throw new StarlingError('rate-limited', 'this peer dials others back now and then only')
    running++
    try {
      const tried: string[] = []
      const reached: string[] = []
      for (const text of said.addresses) {
        const address = tryAddress(text)
        if (address === undefined || needsRelay(address) || hostOf(address) !== seenAt) continue
        tried.push(text)
        try {
          const whole = withPeer(address, peer)
          const opened = await libp2p.dial(whole, {
            force: true,
            signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT)]),
          } as Parameters<Libp2p['dial']>[1])
          // A dial to the same peer that was under way is joined, wherever it leads.
          if (withPeer(opened.remoteAddr, peer).equals(whole)) reached.push(text)
          // Who asks is connected already.
          if (opened.id !== connection?.id) await opened.close({ signal: AbortSignal.timeout(DIAL_TIMEOUT) })
        } catch {
          // That nobody answered there is the answer.
        }
      }
      return answer.encode({ seenAt, tried, reached })
    } finally {
      running--
    }
  })
}
