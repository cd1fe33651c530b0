/**
 * Wire format of the ask protocol: frames of a 14-byte header, a short text and a body. Pure; nothing here waits or sends.
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 1 | kind: 1 question, 2 cancel, 3 answer, 4 failure |
 * | 1 | 1 | length of the text: the method of a question, the code of a failure, 0 otherwise |
 * | 2 | 4 | id of the question, chosen by the asker, unique among those open on the stream |
 * | 6 | 4 | length of the body |
 * | 10 | 4 | largest answer accepted (question), 0 otherwise |
 *
 * Numbers are little-endian. Frames run on from one another; nothing is assumed of how the stream cuts them up.
 */
import type { Uint8ArrayList } from 'uint8arraylist'

export const QUESTION = 1
export const CANCEL = 2
export const ANSWER = 3
export const FAILURE = 4

export const HEADER_BYTES = 14
/** Longest method or error code, bytes of ASCII. */
export const MAX_TEXT = 64
/** Longest body of a question, bytes: a microbatch's activations of 96 KiB and what is said of them. With 16 open on the control lane, 2 MiB for each peer. */
export const MAX_QUESTION = 112 * 1024
/** Longest answer that anybody may ask for: a chunk of 1 MiB and room for its proof. */
export const MAX_ANSWER = 1024 * 1024 + 64 * 1024
/** Longest message of a failure, bytes of UTF-8. */
export const MAX_MESSAGE = 1_024

const TEXT = /^[a-z0-9][a-z0-9./:-]{0,63}$/

/** A frame that no honest peer sends. */
export class FrameError extends Error {
  readonly reason: 'malformed-frame' | 'too-large' | 'too-many-questions'

  constructor(reason: FrameError['reason'], message: string) {
    super(message)
    this.name = 'FrameError'
    this.reason = reason
  }
}

export interface FrameHeader {
  kind: number
  textLength: number
  id: number
  bodyLength: number
  limit: number
}

export interface Frame extends FrameHeader {
  text: string
  /** Empty when it was skipped. */
  body: Uint8Array
}

/** True for what may stand as a method or an error code. */
export function isText(text: string): boolean {
  return TEXT.test(text)
}

/** Header and text; the body follows unchanged, so that it need not be copied. */
export function encodeHead(kind: number, id: number, bodyLength: number, text = '', limit = 0): Uint8Array {
  const head = new Uint8Array(HEADER_BYTES + text.length)
  const view = new DataView(head.buffer)
  head[0] = kind
  head[1] = text.length
  view.setUint32(2, id, true)
  view.setUint32(6, bodyLength, true)
  view.setUint32(10, limit, true)
  for (let at = 0; at < text.length; at++) head[HEADER_BYTES + at] = text.charCodeAt(at)
  return head
}

/** Reads a header and checks what can be checked without knowing the questions. Throws {@link FrameError}. */
export function decodeHeader(bytes: Uint8Array): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  const header = {
    kind: view.getUint8(0),
    textLength: view.getUint8(1),
    id: view.getUint32(2, true),
    bodyLength: view.getUint32(6, true),
    limit: view.getUint32(10, true),
  }
  const hasText = header.kind === QUESTION || header.kind === FAILURE
  if (header.kind < QUESTION || header.kind > FAILURE) throw new FrameError('malformed-frame', `kind ${header.kind}`)
  if (header.textLength > MAX_TEXT || hasText !== header.textLength > 0) {
    throw new FrameError('malformed-frame', `text of ${header.textLength} bytes in a frame of kind ${header.kind}`)
  }
  const longest =
    { [QUESTION]: MAX_QUESTION, [CANCEL]: 0, [ANSWER]: MAX_ANSWER, [FAILURE]: MAX_MESSAGE }[header.kind] ?? 0
  if (header.bodyLength > longest) {
    throw new FrameError(
      'too-large',
      `body of ${header.bodyLength} bytes, more than ${longest}, in a frame of kind ${header.kind}`,
    )
  }
  if (header.limit > MAX_ANSWER || (header.kind !== QUESTION && header.limit !== 0)) {
    throw new FrameError('malformed-frame', `answer limit ${header.limit} in a frame of kind ${header.kind}`)
  }
  return header
}

export interface FrameReaderOptions {
  /** Called with each header before anything is allocated for it: take the body, or read past it. Throws FrameError to refuse. */
  accept(header: FrameHeader): 'keep' | 'skip'
  frame(frame: Frame): void
  /** Called when a frame has begun and when it is complete. */
  partial?(open: boolean): void
}

/**
 * Puts frames together from pieces of any size. Holds at most one header, one text and one accepted body; `accept` decides on the
 * body's size before it is allocated.
 */
export class FrameReader {
  readonly #options: FrameReaderOptions
  readonly #head = new Uint8Array(HEADER_BYTES + MAX_TEXT)
  #headLength = 0
  #header: FrameHeader | undefined
  #keep = false
  #text: string | undefined
  #body: Uint8Array = EMPTY
  #bodyLength = 0

  constructor(options: FrameReaderOptions) {
    this.#options = options
  }

  /** True between two frames. */
  get idle(): boolean {
    return this.#headLength === 0
  }

  /** Bytes allocated for the frame that is being read. */
  get buffered(): number {
    return this.#headLength + this.#body.byteLength
  }

  /** Takes bytes off the stream. Throws FrameError; the stream is then of no use any more. */
  push(data: Uint8Array | Uint8ArrayList): void {
    if (data instanceof Uint8Array) this.#pushBytes(data)
    else for (const bytes of data) this.#pushBytes(bytes)
  }

  #pushBytes(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.byteLength) {
      at +=
        this.#header === undefined || this.#text === undefined ? this.#takeHead(bytes, at) : this.#takeBody(bytes, at)
      if (this.#header !== undefined && this.#text !== undefined && this.#bodyLength === this.#header.bodyLength)
        this.#finish()
    }
  }

  #takeHead(bytes: Uint8Array, at: number): number {
    if (this.#headLength === 0) this.#options.partial?.(true)
    const wanted = HEADER_BYTES + (this.#header?.textLength ?? 0) - this.#headLength
    const taken = Math.min(wanted, bytes.byteLength - at)
    this.#head.set(bytes.subarray(at, at + taken), this.#headLength)
    this.#headLength += taken
    if (taken < wanted) return taken
    this.#header ??= decodeHeader(this.#head)
    if (this.#headLength === HEADER_BYTES + this.#header.textLength) this.#startBody(this.#header)
    return taken
  }

  #startBody(header: FrameHeader): void {
    this.#text = Buffer.from(this.#head.buffer, HEADER_BYTES, header.textLength).toString('latin1')
    if (header.textLength > 0 && !isText(this.#text))
      throw new FrameError('malformed-frame', 'text that is no method or code')
    this.#keep = this.#options.accept(header) === 'keep'
    // Its own memory, never the pool's: bodies outlive the frame. Every byte is overwritten before anyone sees it.
    this.#body = this.#keep && header.bodyLength > 0 ? Buffer.allocUnsafeSlow(header.bodyLength) : EMPTY
    this.#bodyLength = 0
  }

  #takeBody(bytes: Uint8Array, at: number): number {
    const taken = Math.min((this.#header?.bodyLength ?? 0) - this.#bodyLength, bytes.byteLength - at)
    if (this.#keep) this.#body.set(bytes.subarray(at, at + taken), this.#bodyLength)
    this.#bodyLength += taken
    return taken
  }

  #finish(): void {
    const frame = { ...(this.#header as FrameHeader), text: this.#text ?? '', body: plain(this.#body) }
    this.#header = undefined
    this.#text = undefined
    this.#body = EMPTY
    this.#headLength = 0
    this.#bodyLength = 0
    this.#options.partial?.(false)
    this.#options.frame(frame)
  }
}

const EMPTY = new Uint8Array(0)

/** A Uint8Array over a Buffer's memory, so that `slice` and `subarray` mean what they mean everywhere else. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
