/** The heartbeat: what a peer says of itself every few seconds. Signed by the router; the author is never read from the payload. */
import { z } from 'zod'
import type { MemberStatus } from '../ports.ts'
import { defineMessage } from '../wire/index.ts'
import { MAX_INTERVAL } from './pace.ts'

/** Topic of the heartbeats. */
export const HEARTBEAT_TOPIC = 'heartbeat'

/** Counts of steps and rounds beyond this are a lie: at a million steps a second it takes nine years. */
const MAX_COUNT = 2 ** 48
const count = z.number().int().min(0).max(MAX_COUNT)
const loss = z.number().min(-1e9).max(1e9)

/** Schema of {@link MemberStatus}. */
export const memberStatusSchema = z.strictObject({
  incarnation: count,
  phase: z.enum(['joining', 'training', 'finished', 'leaving']),
  step: count,
  round: count,
  loss: loss.optional(),
  validationLoss: loss.optional(),
  bytesSent: count,
  bytesReceived: count,
})

/** A status and its number among the heartbeats of this incarnation, from 1. */
export interface Heartbeat {
  sequence: number
  /** The next heartbeat follows within so many ms. */
  interval: number
  status: MemberStatus
}

/** See {@link Heartbeat}. About 150 bytes; the limit leaves room for a few fields more. */
export const heartbeatMessage = defineMessage<Heartbeat>(
  'heartbeat',
  // zod types an absent key as `T | undefined`; the codec leaves such keys out and never decodes an undefined.
  z.strictObject({
    sequence: count.min(1),
    interval: z.number().int().min(1).max(MAX_INTERVAL),
    status: memberStatusSchema,
  }) as unknown as z.ZodType<Heartbeat>,
  { maxBytes: 512, maxDepth: 3, maxItems: 32 },
)

/** What arrays of bytes said that were read already. An entry goes with its bytes. */
const read = new WeakMap<Uint8Array, Heartbeat>()

/**
 * As `heartbeatMessage.decode`, once for the same array: decoding is most of what a heartbeat costs, and one that is looked at first and handled
 * then, or by many peers of one process, is the same. The bytes must not change after that.
 */
export function readHeartbeat(bytes: Uint8Array): Heartbeat {
  const known = read.get(bytes)
  if (known !== undefined) {
    return known
  }
  const heartbeat = heartbeatMessage.decode(bytes)
  read.set(bytes, heartbeat)
  return heartbeat
}

/** The status without a loss that no heartbeat can carry: a run that diverges is still a member. */
export function withoutStray(status: MemberStatus): MemberStatus {
  const kept = { ...status }
  for (const key of ['loss', 'validationLoss'] as const) {
    if (kept[key] !== undefined && !memberStatusSchema.shape[key].safeParse(kept[key]).success) {
      delete kept[key]
    }
  }
  return kept
}
