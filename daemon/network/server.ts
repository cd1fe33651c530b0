/** The answering end of one stream of the ask protocol. It sends nothing but its ready byte and what it is asked for. */
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { StarlingError } from '../../protocols/index.ts'
import {
  ANSWER,
  CANCEL,
  encodeHead,
  FAILURE,
  type Frame,
  FrameError,
  type FrameHeader,
  FrameReader,
  HEADER_BYTES,
  isText,
  MAX_MESSAGE,
  QUESTION,
} from './frames.ts'
import { LANES, type LaneRules, READY } from './lane.ts'
import type { RejectReason } from './types.ts'
import { FrameWriter } from './writer.ts'

/** The asker names its lane, and ends a frame that it began, within this, milliseconds: 64 KiB at 6.5 kB/s. */
export const RECEIVE_TIMEOUT = 10_000

/** What the server of a stream needs from its surroundings. */
export interface ServerParts {
  /** Answers with at most `limit` bytes, or throws a StarlingError. */
  answer(method: string, question: Uint8Array, signal: AbortSignal, limit: number): Promise<Uint8Array>
  fault(reason: RejectReason, detail: string): void
  count(method: string, sent: number, received: number): void
  closed(): void
  receiveTimeout?: number
  stallTimeout?: number
}

/** Serves a stream until it closes. Returns at once and never throws. */
export function serve(stream: Stream, parts: ServerParts): AskServer {
  return new AskServer(stream, parts)
}

export class AskServer {
  readonly #stream: Stream
  readonly #parts: ServerParts
  readonly #writer: FrameWriter
  readonly #reader: FrameReader
  /** Questions that are being answered or whose answer is not yet with the stream. Bounded by the lane's depth. */
  readonly #open = new Map<number, AbortController>()
  #rules: LaneRules | undefined
  #deadline: NodeJS.Timeout | undefined
  #ended = false

  constructor(stream: Stream, parts: ServerParts) {
    this.#stream = stream
    this.#parts = parts
    this.#writer = new FrameWriter(stream, (error) => this.#fail(error), parts.stallTimeout)
    this.#reader = new FrameReader({
      accept: (header) => this.#accept(header),
      frame: (frame) => this.#frame(frame),
      partial: (begun) => this.#watch(begun),
    })
    stream.addEventListener('message', (event: StreamMessageEvent) => this.#receive(event.data))
    stream.addEventListener('close', () => this.#end(new Error('the stream was closed')))
    stream.addEventListener('remoteCloseWrite', () => this.#fail(new Error('the asker is gone')))
    this.#watch(true)
    try {
      // From here on the asker may write: a listener is there, nothing piles up in the muxer.
      stream.send(Uint8Array.of(READY))
    } catch (error) {
      this.#fail(error as Error)
    }
    // May have happened before anyone listened.
    if (stream.remoteWriteStatus === 'closed') this.#fail(new Error('the asker is gone'))
  }

  /** Questions open now. */
  get open(): number {
    return this.#open.size
  }

  /** Bytes held: the frame being read and the answers not yet handed to the stream. */
  get buffered(): number {
    return this.#reader.buffered + this.#writer.queuedBytes + this.#stream.writeBufferLength
  }

  close(): void {
    this.#fail(new Error('this peer is closing'))
  }

  #receive(data: StreamMessageEvent['data']): void {
    if (this.#ended) return
    // Nothing here may throw: an exception in an event listener ends the process.
    try {
      let rest = data
      if (this.#rules === undefined) {
        const mark = data instanceof Uint8Array ? data[0] : data.get(0)
        this.#rules = Object.values(LANES).find((rules) => rules.mark === mark)
        if (this.#rules === undefined) throw new FrameError('malformed-frame', `no lane is marked ${mark}`)
        this.#watch(false)
        rest = data.subarray(1)
      }
      if (rest.byteLength > 0) this.#reader.push(rest)
    } catch (error) {
      if (error instanceof FrameError) this.#parts.fault(error.reason, error.message)
      this.#fail(error as Error)
    }
  }

  /** Sets or clears the deadline for what has begun to arrive. */
  #watch(begun: boolean): void {
    clearTimeout(this.#deadline)
    this.#deadline = undefined
    if (!begun) return
    const milliseconds = this.#parts.receiveTimeout ?? RECEIVE_TIMEOUT
    this.#deadline = setTimeout(() => {
      this.#parts.fault('too-slow', `a frame was not complete within ${milliseconds} ms`)
      this.#fail(new Error('a frame took too long'))
    }, milliseconds)
  }

  #accept(header: FrameHeader): 'keep' | 'skip' {
    const rules = this.#rules as LaneRules
    if (header.kind === CANCEL) return 'skip'
    if (header.kind !== QUESTION)
      throw new FrameError('malformed-frame', `an asker sent a frame of kind ${header.kind}`)
    if (this.#open.has(header.id)) throw new FrameError('malformed-frame', `question ${header.id} is open already`)
    if (this.#open.size >= rules.depth)
      throw new FrameError('too-many-questions', `more than ${rules.depth} questions at once`)
    if (header.limit > rules.maxAnswer)
      throw new FrameError('malformed-frame', `an answer of ${header.limit} bytes on this lane`)
    return 'keep'
  }

  #frame(frame: Frame): void {
    if (frame.kind === CANCEL) {
      this.#open.get(frame.id)?.abort(new StarlingError('aborted', 'the asker gave up'))
      return
    }
    const controller = new AbortController()
    this.#open.set(frame.id, controller)
    this.#parts.count(frame.text, 0, HEADER_BYTES + frame.textLength + frame.bodyLength)
    this.#parts.answer(frame.text, frame.body, controller.signal, frame.limit).then(
      (answer) => this.#reply(frame, controller, answer),
      (error) => this.#refuse(frame, controller, error),
    )
  }

  #reply(frame: Frame, controller: AbortController, answer: Uint8Array): void {
    if (controller.signal.aborted) {
      this.#refuse(frame, controller, new StarlingError('aborted', 'the question was cancelled'))
    } else if (!(answer instanceof Uint8Array)) {
      this.#refuse(frame, controller, new Error(`the answerer of ${frame.text} returned no bytes`))
    } else if (answer.byteLength > frame.limit) {
      const text = `the answer has ${answer.byteLength} bytes, the asker takes ${frame.limit}`
      this.#refuse(frame, controller, new StarlingError('answer-too-large', text))
    } else {
      this.#write(frame, encodeHead(ANSWER, frame.id, answer.byteLength), answer)
    }
  }

  #refuse(frame: Frame, controller: AbortController, error: unknown): void {
    const known = error instanceof StarlingError && isText(error.code)
    const code = controller.signal.aborted ? 'aborted' : known ? error.code : 'internal'
    // Messages of unforeseen errors may name files and the like; they stay here.
    const message = known ? error.message : 'the peer failed to answer'
    const body = truncated(message)
    this.#write(frame, encodeHead(FAILURE, frame.id, body.byteLength, code), body)
  }

  #write(frame: Frame, head: Uint8Array, body: Uint8Array): void {
    if (this.#ended) return
    this.#parts.count(frame.text, head.byteLength + body.byteLength, 0)
    this.#writer.write(head, body, () => this.#open.delete(frame.id))
  }

  #fail(error: Error): void {
    if (this.#ended) return
    this.#end(error)
    this.#stream.abort(error)
  }

  #end(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#watch(false)
    for (const controller of this.#open.values()) controller.abort(error)
    this.#open.clear()
    this.#parts.closed()
  }
}

/** UTF-8 of a message, cut at MAX_MESSAGE bytes. */
function truncated(message: string): Uint8Array {
  return new Uint8Array(Buffer.from(message, 'utf8').subarray(0, MAX_MESSAGE))
}
