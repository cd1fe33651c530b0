/** Messages: a zod schema and a byte limit each, canonical CBOR on the wire, hostile bytes refused before anything is built. */
import { type DecodeOptions, decode, type EncodeOptions, encode } from 'cborg'
import type { z } from 'zod'
import { StarlingError } from '../errors.ts'
import { equalBytes } from '../hash.ts'
import { structureFault } from './structure.ts'

export { type StructureLimits, structureFault } from './structure.ts'

/** Options of {@link defineMessage}. */
export interface MessageOptions {
  /** Longest encoding, bytes; checked before anything else, on both sides. */
  maxBytes: number
  /** Nesting of arrays and maps. Default 8. */
  maxDepth?: number
  /** Values in all, map keys included; bounds the memory that a short message can claim. Default 4,096. */
  maxItems?: number
}

/** One kind of message. */
export interface MessageType<T> {
  readonly name: string
  readonly maxBytes: number
  /** Canonical bytes of a valid value. Throws StarlingError 'bad-message' when the value breaks the schema or the byte limit. */
  encode(value: T): Uint8Array
  /**
   * The value of canonical bytes. Throws StarlingError 'bad-message' with data {name, reason} for anything else; data.misfit is true when they
   * are canonical bytes of some other value, as a later version of this message would be.
   */
  decode(bytes: Uint8Array): T
}

const refuse = (what: string): never => {
  throw new TypeError(`${what} has no place in a message`)
}

/** Doubles always, so that a number has one encoding; integers are integers whatever their JavaScript type. */
const encodeOptions: EncodeOptions = {
  float64: true,
  ignoreUndefinedProperties: true,
  typeEncoders: {
    undefined: () => refuse('undefined'),
    bigint: () => refuse('a bigint'),
    number: (value: number) => (Number.isFinite(value) ? null : refuse(String(value))),
  },
}

const decodeOptions: DecodeOptions = {
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  strict: true,
  rejectDuplicateMapKeys: true,
}

/**
 * Defines a message. The schema should be strict (`z.strictObject`): what is not declared is refused. Keys are sorted, lengths are
 * minimal, floats are doubles, and there are no tags, no duplicates, no `undefined` and nothing but finite numbers, so equal values
 * have equal bytes and no other bytes decode to them (checked by encoding again).
 */
export function defineMessage<T>(name: string, schema: z.ZodType<T>, options: MessageOptions): MessageType<T> {
  const limits = { maxDepth: options.maxDepth ?? 8, maxItems: options.maxItems ?? 4096 }
  const bad = (reason: string, cause?: unknown, more: { misfit?: true } = {}): StarlingError =>
    new StarlingError('bad-message', `bad ${name} message: ${reason}`, { name, reason, ...more }, { cause })

  return {
    name,
    maxBytes: options.maxBytes,
    encode(value) {
      const checked = schema.safeParse(value)
      if (!checked.success) {
        throw bad(firstIssue(checked.error))
      }
      let bytes: Uint8Array
      try {
        // A copy: the encoder may return a Buffer, whose slice() shares its memory, and the memory may be a pool's.
        bytes = new Uint8Array(encode(checked.data, encodeOptions))
      } catch (error) {
        throw bad(error instanceof Error ? error.message : String(error), error)
      }
      if (bytes.byteLength > options.maxBytes) {
        throw bad(`${bytes.byteLength} bytes, more than ${options.maxBytes}`)
      }
      const fault = structureFault(bytes, limits)
      if (fault !== undefined) {
        throw bad(fault)
      }
      return bytes
    },
    decode(bytes) {
      if (bytes.byteLength > options.maxBytes) {
        throw bad(`${bytes.byteLength} bytes, more than ${options.maxBytes}`)
      }
      const fault = structureFault(bytes, limits)
      if (fault !== undefined) {
        throw bad(fault)
      }
      let value: unknown
      let canonical: Uint8Array
      try {
        value = decode(bytes, decodeOptions)
        canonical = encode(value, encodeOptions)
      } catch (error) {
        throw bad(error instanceof Error ? error.message : String(error), error)
      }
      if (!equalBytes(bytes, canonical)) {
        throw bad('not in canonical form')
      }
      const checked = schema.safeParse(value)
      if (!checked.success) {
        throw bad(firstIssue(checked.error), undefined, { misfit: true })
      }
      return checked.data
    },
  }
}

/** First thing a schema found wrong, with the place in the value. */
function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]
  if (issue === undefined) {
    return 'it does not fit its schema'
  }
  const place = issue.path.map(String).join('.')
  return place === '' ? issue.message : `${place}: ${issue.message}`
}
