/**
 * What NoLoCo keeps on disk: the outcome of the latest exchanges, and the state of the latest round from before its outer step, so that a
 * killed peer can take that step again. See docs/noloco.md for what a kill at each moment leads to.
 */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import { type Learner, MAX_RECORD_BYTES, type RecordStore } from '../ports.ts'
import { defineMessage } from '../wire/index.ts'

/** Outcomes remembered. A peer asks about its latest exchange only, and has at most one per round with any other. */
export const MAX_OUTCOMES = 64

/** The vectors of a replica. */
const STATE = ['theta', 'phi', 'delta'] as const

/** How an exchange ended. */
export type Outcome = 'committed' | 'aborted'

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)
const id = z.string().regex(/^[0-9a-f]{32}$/)

const outcomesRecord = defineMessage(
  'noloco-outcomes',
  z.array(z.strictObject({ id, outcome: z.enum(['committed', 'aborted']) })).max(MAX_OUTCOMES),
  { maxBytes: 16 * 1024 },
)

const preparedRecord = defineMessage(
  'noloco-prepared',
  z.strictObject({
    slot: z.number().int().min(0).max(1),
    round: count,
    step: count,
    vectors: z.array(z.strictObject({ name: z.string().max(64), bytes: count })).max(16),
    exchange: z
      .strictObject({
        id,
        partner: z.string().max(128),
        role: z.enum(['initiator', 'responder']),
        share: z.number().min(0).max(1),
      })
      .optional(),
  }),
  { maxBytes: 4096 },
)

/** The exchange that a prepared round hangs on. */
export interface PreparedExchange {
  id: string
  partner: string
  role: 'initiator' | 'responder'
  /** Of the way to the partner's message, as both have agreed; see reach.ts. */
  share: number
}

/** A round whose state before the outer step is on disk. */
export interface Prepared {
  round: number
  step: number
  /** Undefined: the outer step is taken alone. */
  exchange?: PreparedExchange | undefined
}

/** The records of one peer. Call {@link Ledger.open} before anything else. */
export class Ledger {
  readonly #records: RecordStore
  readonly #learner: Pick<Learner, 'bytes'>
  /** Rounds are kept on disk. */
  readonly #keep: boolean
  /** By exchange, oldest first; at most {@link MAX_OUTCOMES}. */
  readonly #outcomes = new Map<string, Outcome>()
  #slot = 0
  /** The replica's vectors on their way to disk. */
  #saving: Promise<void> | undefined

  constructor(records: RecordStore, learner: Pick<Learner, 'bytes'>, options: { keep: boolean }) {
    this.#records = records
    this.#learner = learner
    this.#keep = options.keep
  }

  /** Reads what an earlier process left. Returns the latest prepared round, if any. Throws StarlingError 'bad-message' when the records are damaged. */
  async open(): Promise<Prepared | undefined> {
    const outcomes = await this.#records.get('outcomes')
    if (outcomes !== undefined) {
      for (const entry of outcomesRecord.decode(outcomes)) {
        this.#outcomes.set(entry.id, entry.outcome)
      }
    }
    const bytes = await this.#records.get('prepared')
    if (bytes === undefined || !this.#keep) {
      return undefined
    }
    const { slot, round, step, exchange } = preparedRecord.decode(bytes)
    this.#slot = 1 - slot
    return { round, step, exchange }
  }

  /** Forgets the kept round, when it is none of the replica that this peer now begins with. */
  async forget(): Promise<void> {
    await this.#records.delete('prepared')
  }

  /** How the exchange ended, as far as this peer has decided or been told. */
  outcome(exchange: string): Outcome | undefined {
    return this.#outcomes.get(exchange)
  }

  /** Writes an outcome; on disk when it resolves. It does not count before that. */
  async decide(exchange: string, outcome: Outcome): Promise<void> {
    const next = new Map(this.#outcomes)
    next.delete(exchange)
    next.set(exchange, outcome)
    for (const oldest of next.keys()) {
      if (next.size <= MAX_OUTCOMES) {
        break
      }
      next.delete(oldest)
    }
    await this.#records.put(
      'outcomes',
      outcomesRecord.encode([...next].map(([key, value]) => ({ id: key, outcome: value }))),
    )
    this.#outcomes.clear()
    for (const [key, value] of next) {
      this.#outcomes.set(key, value)
    }
  }

  /**
   * Begins to write the replica as it is at the end of a round's local steps, while the partner is waited for; it must not change before
   * {@link prepare} has resolved. Two places on disk take turns, so that a kill while writing leaves the round before.
   */
  save(): void {
    if (this.#keep) {
      this.#saving ??= this.#write(STATE)
      // Whoever awaits it in prepare sees the error; without a prepare nobody relies on it.
      this.#saving.catch(() => undefined)
    }
  }

  /** Resolves once the state before the outer step of a round is on disk; the header comes last. Does nothing when rounds are not kept. */
  async prepare(prepared: Prepared): Promise<void> {
    if (!this.#keep) {
      return
    }
    const { round, step, exchange } = prepared
    this.save()
    await this.#saving
    // Without a partner the inbox means nothing.
    const names = exchange === undefined ? STATE : [...STATE, 'inbox']
    if (exchange !== undefined) {
      await this.#write(['inbox'])
    }
    const slot = this.#slot
    const vectors = names.map((name) => ({ name, bytes: this.#learner.bytes(name).byteLength }))
    const header = preparedRecord.encode({
      slot,
      round,
      step,
      vectors,
      ...(exchange === undefined ? {} : { exchange }),
    })
    await this.#records.put('prepared', header)
    this.#slot = 1 - slot
    this.#saving = undefined
  }

  async #write(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const bytes = this.#learner.bytes(name)
      for (let start = 0; start < bytes.byteLength; start += MAX_RECORD_BYTES) {
        await this.#records.put(key(this.#slot, name, start), bytes.slice(start, start + MAX_RECORD_BYTES))
      }
    }
  }

  /** Puts the vectors of the prepared round back. Throws StarlingError 'bad-record' when they are not those of this model. */
  async restore(): Promise<void> {
    const header = await this.#records.get('prepared')
    if (header === undefined) {
      throw new StarlingError('bad-record', 'no round is kept', {})
    }
    const { slot, vectors } = preparedRecord.decode(header)
    for (const { name, bytes } of vectors) {
      if (![...STATE, 'inbox'].includes(name) || this.#learner.bytes(name).byteLength !== bytes) {
        throw new StarlingError(
          'bad-record',
          `the kept round holds ${bytes} bytes of '${name}', which do not fit this model`,
          { name, bytes },
        )
      }
    }
    for (const { name } of vectors) {
      const into = this.#learner.bytes(name)
      for (let start = 0; start < into.byteLength; start += MAX_RECORD_BYTES) {
        const part = await this.#records.get(key(slot, name, start))
        const length = Math.min(MAX_RECORD_BYTES, into.byteLength - start)
        if (part?.byteLength !== length) {
          throw new StarlingError('bad-record', `a part of '${name}' of the kept round is missing`, { name, start })
        }
        into.set(part, start)
      }
    }
  }
}

function key(slot: number, name: string, start: number): string {
  return `round/${slot}/${name}/${start / MAX_RECORD_BYTES}`
}
