/** What neighbours say to each other: differences to the author's public replica, and, where one got lost, the replica itself by its hash. */
import { z } from 'zod'
import { blobReferenceSchema } from '../../transfer/index.ts'
import { defineMessage } from '../../wire/index.ts'
import { head } from '../messages.ts'
import { MAX_FRAGMENTS } from '../options.ts'
import { MESSAGE_BYTES } from '../plan.ts'

/** Author to follower: the next difference of one fragment. */
export const DIFFERENCE_METHOD = 'gossip-difference'

/** Follower to author: name your public replica of one fragment. */
export const PUBLIC_METHOD = 'gossip-public'

const count = z
  .number()
  .int()
  .min(1)
  .max(2 ** 48)

/** Of a public replica, which begins anew with every start of its author: the first one at the run's common start, later ones at the author's parameters. */
const version = {
  /** Which of the author's public replicas. */
  generation: count,
  /** Differences of this fragment that its author has sent since. */
  sequence: z
    .number()
    .int()
    .min(0)
    .max(2 ** 48),
}

/** C(x - x̂) of the fragment of that turn. */
export const differenceMessage = defineMessage(
  'gossip-difference',
  z.strictObject({
    ...head,
    ...version,
    /** Sum of squares of the fragment of x̂ when this difference has been added: a follower whose sum is another one has lost the thread. */
    energy: z.number().min(0),
    bytes: z.instanceof(Uint8Array),
  }),
  { maxBytes: MESSAGE_BYTES, maxItems: 16 },
)

/** A decoded {@link differenceMessage}. */
export type Difference = ReturnType<typeof differenceMessage.decode>

/** Question of {@link PUBLIC_METHOD}. */
export const publicQuestion = defineMessage(
  'gossip-public',
  z.strictObject({
    fragment: z
      .number()
      .int()
      .min(0)
      .max(MAX_FRAGMENTS - 1),
  }),
  { maxBytes: 64, maxItems: 4 },
)

/** Its answer: the version, and the float32 values by their hash. */
export const publicAnswer = defineMessage(
  'gossip-public-answer',
  z.strictObject({ ...version, ...blobReferenceSchema.shape }),
  { maxBytes: 256, maxItems: 16 },
)
