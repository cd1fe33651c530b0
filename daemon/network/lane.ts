/**
 * The asking end of one lane to one peer: a stream that is kept open and carries many questions, opened again when it breaks.
 *
 * There are two lanes per peer, because answers on a stream come one after the other: small questions on 'control' never wait
 * behind chunks of 'bulk'. At most {@link LaneRules.depth} questions are open on a stream; the others wait here. So the bytes that
 * may be on their way to us are at most depth x {@link MAX_ANSWER}, whoever sends them, and the reader never has to pause the stream
 * (pausing loses data beyond 4 MiB: the muxer grants its window on arrival).
 */
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
  QUESTION,
} from './frames.ts'
import type { RejectReason } from './types.ts'
import { FrameWriter } from './writer.ts'

export type LaneName = 'control' | 'bulk'

/** Limits of a lane; both ends must agree on the first three. */
export interface LaneRules {
  /** First byte from the asker on a fresh stream. */
  mark: number
  /** Questions open on the stream at once. */
  depth: number
  /** Longest answer, bytes. */
  maxAnswer: number
}

/** Answers above 64 KiB travel on the bulk lane; two chunks on their way fill the pipe (measured 356 MB/s, no less than pushing). */
export const LANES: Record<LaneName, LaneRules> = {
  control: { mark: 0x63, depth: 16, maxAnswer: 64 * 1024 },
  bulk: { mark: 0x62, depth: 2, maxAnswer: 1024 * 1024 + 64 * 1024 },
}

/** Sent by the answering end once it listens; nothing may be sent to it before. */
export const READY = 0x01

/** Negotiating a stream and hearing the ready byte, milliseconds: a few round trips, on machines that are busy training. */
export const OPEN_TIMEOUT = 10_000
/** After a cancel the peer has this long to settle the question before the stream is given up, milliseconds. */
export const CANCEL_GRACE = 10_000
/** Questions waiting in a lane at most; more is a bug of the caller, answered with 'ask-overloaded'. */
export const MAX_WAITING = 1_024

/** What a lane needs from its surroundings; a test gives a pair of streams. */
export interface LaneParts {
  lane: LaneName
  /** Opens a stream to the peer. Throws StarlingError 'peer-unreachable'. */
  open(signal: AbortSignal): Promise<Stream>
  /** The peer broke the protocol. */
  fault(reason: RejectReason, detail: string): void
  /** Bytes of a method in either direction. */
  count(method: string, sent: number, received: number): void
  openTimeout?: number
  cancelGrace?: number
}

export interface Question {
  method: string
  question: Uint8Array
  timeout: number
  maxAnswer: number
  signal?: AbortSignal | undefined
}

interface Entry extends Question {
  id: number
  resolve(answer: Uint8Array): void
  reject(error: Error): void
  /** Set when nobody waits any more: its answer is read past. */
  abandoned: boolean
  timer: NodeJS.Timeout
}

export class AskLane {
  readonly #parts: LaneParts
  readonly #rules: LaneRules
  /** Bounded by MAX_WAITING. */
  readonly #waiting: Entry[] = []
  /** Bounded by the lane's depth. */
  readonly #open = new Map<number, Entry>()
  readonly #closing = new AbortController()
  #stream: Stream | undefined
  #writer: FrameWriter | undefined
  #opening = false
  /** The stream is to be replaced as soon as nothing is open on it. */
  #renewing = false
  #nextId = 1

  constructor(parts: LaneParts) {
    this.#parts = parts
    this.#rules = LANES[parts.lane]
  }

  /** True when nothing is asked or waiting. */
  get idle(): boolean {
    return this.#waiting.length === 0 && this.#open.size === 0
  }

  /** Questions that were sent and are not settled by the peer. */
  get outstanding(): number {
    return this.#open.size
  }

  ask(question: Question): Promise<Uint8Array> {
    if (this.#closing.signal.aborted) return Promise.reject(unreachable('the network is closed'))
    if (question.signal?.aborted) return Promise.reject(aborted(question.signal))
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(new StarlingError('ask-overloaded', `${MAX_WAITING} questions wait for this peer already`))
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(entry.timer)
        question.signal?.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => this.#abandon(entry, aborted(question.signal as AbortSignal))
      const onTimeout = (): void => {
        const text = `no answer to ${question.method} within ${question.timeout} ms`
        this.#abandon(
          entry,
          new StarlingError('ask-timeout', text, { method: question.method, milliseconds: question.timeout }),
        )
      }
      const entry: Entry = {
        ...question,
        id: 0,
        abandoned: false,
        timer: setTimeout(onTimeout, question.timeout),
        resolve: (answer) => {
          settle()
          resolve(answer)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      }
      question.signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(entry)
      this.#pump()
    })
  }

  /** Opens a new stream for what is asked from now on; what is open on the present one is waited for. */
  renew(): void {
    this.#renewing = this.#opening || this.#stream !== undefined
    this.#leave()
    this.#pump()
  }

  /** Ends the stream and every question. */
  close(): void {
    this.#closing.abort()
    this.#break(unreachable('the connection was closed'))
    for (const entry of this.#waiting.splice(0)) entry.reject(unreachable('the connection was closed'))
  }

  #pump(): void {
    if (this.#waiting.length === 0) return
    if (this.#writer === undefined) {
      if (!this.#opening) void this.#openStream()
      return
    }
    while (!this.#renewing && this.#open.size < this.#rules.depth) {
      const entry = this.#waiting.shift()
      if (entry === undefined) return
      this.#send(this.#writer, entry)
    }
  }

  /** Gives up a stream that is to be replaced, if nothing is open on it. */
  #leave(): void {
    if (this.#renewing && this.#stream !== undefined && this.#open.size === 0)
      this.#break(unreachable('another stream takes its place'))
  }

  #send(writer: FrameWriter, entry: Entry): void {
    entry.id = this.#nextId
    this.#nextId = this.#nextId === 0xffff_ffff ? 1 : this.#nextId + 1
    this.#open.set(entry.id, entry)
    const head = encodeHead(QUESTION, entry.id, entry.question.byteLength, entry.method, entry.maxAnswer)
    this.#parts.count(entry.method, head.byteLength + entry.question.byteLength, 0)
    writer.write(head, entry.question)
  }

  /** Opens the stream and waits for the ready byte. Never rejects: the questions that wait are told. */
  async #openStream(): Promise<void> {
    this.#opening = true
    const timeout = AbortSignal.timeout(this.#parts.openTimeout ?? OPEN_TIMEOUT)
    const signal = AbortSignal.any([timeout, this.#closing.signal])
    let stream: Stream | undefined
    try {
      stream = await this.#parts.open(signal)
      await this.#greet(stream, signal)
      this.#opening = false
      this.#leave()
      this.#pump()
    } catch (error) {
      this.#opening = false
      stream?.abort(error as Error)
      const failure =
        error instanceof StarlingError ? error : unreachable(`no stream to it: ${(error as Error).message}`, error)
      for (const entry of this.#waiting.splice(0)) entry.reject(failure)
    }
  }

  #greet(stream: Stream, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const reader = this.#reader(stream)
      const onAbort = (): void => reject(unreachable('it was not ready in time'))
      signal.addEventListener('abort', onAbort, { once: true })
      let ready = false
      // Nothing here may throw: an exception in an event listener ends the process.
      stream.addEventListener('message', (event: StreamMessageEvent) => {
        try {
          let data = event.data
          if (!ready) {
            const first = data instanceof Uint8Array ? data[0] : data.get(0)
            if (first !== READY) throw new FrameError('malformed-frame', 'no ready byte')
            ready = true
            signal.removeEventListener('abort', onAbort)
            stream.send(Uint8Array.of(this.#rules.mark))
            this.#stream = stream
            this.#writer = new FrameWriter(stream, (error) => this.#fail(stream, error))
            resolve()
            data = data.subarray(1)
          }
          if (data.byteLength > 0) reader.push(data)
        } catch (error) {
          if (ready) this.#fail(stream, error as Error)
          reject(error as Error)
        }
      })
      stream.addEventListener('close', () => {
        signal.removeEventListener('abort', onAbort)
        reject(unreachable('it closed the stream'))
        if (this.#stream === stream) this.#break(unreachable('the stream broke before the answer'))
      })
      // The peer will answer nothing more, so waiting for the rest is in vain.
      stream.addEventListener('remoteCloseWrite', () => {
        reject(unreachable('it closed the stream'))
        this.#fail(stream, unreachable('it closed the stream'))
      })
      // Either may have happened before anyone listened.
      if (stream.status !== 'open' || stream.remoteWriteStatus === 'closed') reject(unreachable('it closed the stream'))
    })
  }

  #reader(stream: Stream): FrameReader {
    return new FrameReader({
      accept: (header) => this.#accept(header),
      frame: (frame) => this.#settle(stream, frame),
    })
  }

  #accept(header: FrameHeader): 'keep' | 'skip' {
    const entry = this.#open.get(header.id)
    if (entry === undefined || (header.kind !== ANSWER && header.kind !== FAILURE)) {
      throw new FrameError(
        'malformed-frame',
        `a frame of kind ${header.kind} to question ${header.id}, which is not open`,
      )
    }
    if (header.kind === ANSWER && header.bodyLength > entry.maxAnswer) {
      const text = `an answer of ${header.bodyLength} bytes to ${entry.method}, more than ${entry.maxAnswer}`
      if (!entry.abandoned) entry.reject(new StarlingError('answer-too-large', text, { method: entry.method }))
      this.#open.delete(header.id)
      throw new FrameError('too-large', text)
    }
    return entry.abandoned ? 'skip' : 'keep'
  }

  #settle(stream: Stream, frame: Frame): void {
    const entry = this.#open.get(frame.id)
    if (entry === undefined || stream !== this.#stream) return
    this.#open.delete(frame.id)
    this.#parts.count(entry.method, 0, 14 + frame.textLength + frame.bodyLength)
    clearTimeout(entry.timer)
    if (!entry.abandoned) {
      if (frame.kind === ANSWER) entry.resolve(frame.body)
      else
        entry.reject(
          new StarlingError(frame.text, Buffer.from(frame.body).toString('utf8'), {
            method: entry.method,
            remote: true,
          }),
        )
    }
    this.#leave()
    this.#pump()
  }

  /** Nobody waits for this any more. Its place on the stream stays taken until the peer has settled it. */
  #abandon(entry: Entry, error: Error): void {
    if (entry.abandoned) return
    entry.reject(error)
    const at = this.#waiting.indexOf(entry)
    if (at >= 0) {
      this.#waiting.splice(at, 1)
      return
    }
    const stream = this.#stream
    if (stream === undefined || this.#open.get(entry.id) !== entry) return
    entry.abandoned = true
    this.#writer?.write(encodeHead(CANCEL, entry.id, 0), new Uint8Array(0))
    const grace = this.#parts.cancelGrace ?? CANCEL_GRACE
    entry.timer = setTimeout(
      () => this.#fail(stream, unreachable(`it did not settle a cancelled question within ${grace} ms`)),
      grace,
    )
    // Only a lost peer is found this way; a process that is done should not wait for it.
    entry.timer.unref()
  }

  #fail(stream: Stream, error: Error): void {
    if (this.#stream !== stream) return
    if (error instanceof FrameError) this.#parts.fault(error.reason, error.message)
    this.#break(error instanceof StarlingError ? error : unreachable(`the stream broke: ${error.message}`, error))
    stream.abort(error)
  }

  /** Forgets the stream. What was sent fails, what was not sent goes over a new stream. */
  #break(error: Error): void {
    const stream = this.#stream
    this.#stream = undefined
    this.#writer = undefined
    this.#renewing = false
    const lost = [...this.#open.values()]
    this.#open.clear()
    for (const entry of lost) {
      clearTimeout(entry.timer)
      if (!entry.abandoned) entry.reject(error)
    }
    if (stream?.status === 'open') stream.abort(error)
    if (!this.#closing.signal.aborted) this.#pump()
  }
}

export function unreachable(why: string, cause?: unknown): StarlingError {
  return new StarlingError('peer-unreachable', `the peer cannot be asked: ${why}`, {}, { cause })
}

export function aborted(signal: AbortSignal): StarlingError {
  return new StarlingError('aborted', 'the question was given up by its asker', {}, { cause: signal.reason })
}
