/** What gossip peers say to each other, beside heartbeats, replicas and bulk transfer. */
import { z } from 'zod'
import { MAX_CLAIMED_ROUND } from '../replica/index.ts'
import { blobReferenceSchema } from '../transfer/index.ts'
import { defineMessage } from '../wire/index.ts'
import { MESSAGE_BYTES } from './plan.ts'

/** Topic of the fragments. */
export const FRAGMENTS_TOPIC = 'fragments'

/** What every message of a fragment begins with. */
export const head = {
  /** Turn of the swarm's clock; which fragment it is follows from it. */
  turn: z.number().int().min(1).max(MAX_CLAIMED_ROUND),
  /** Optimizer steps that the author had taken. */
  step: z
    .number()
    .int()
    .min(0)
    .max(2 ** 48),
}

/**
 * A fragment of the author's model, encoded with the run's code; or, where that is too long for gossip, its hash and size, to be pulled. Codes and
 * lengths are not said: both follow from the manifest, and the guards measure what came instead of believing what is claimed.
 */
export const fragmentMessage = defineMessage(
  'fragment',
  z.union([
    z.strictObject({ ...head, bytes: z.instanceof(Uint8Array) }),
    z.strictObject({ ...head, ...blobReferenceSchema.shape }),
  ]),
  { maxBytes: MESSAGE_BYTES, maxItems: 16 },
)

/** A decoded {@link fragmentMessage}. */
export type FragmentMessage = ReturnType<typeof fragmentMessage.decode>
