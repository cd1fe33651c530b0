/** Writes frames to a stream, one after another, never more than a slice ahead of what the stream can take. */
import type { Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import { StarlingError } from '../../protocols/index.ts'

/** Handed to the stream at once, and so the most it buffers for us: big enough that yamux's frames are full. */
const SLICE_BYTES = 256 * 1024

/** A slice must be taken within this, milliseconds: slower than 8.7 kB/s counts as not reading. */
export const STALL_TIMEOUT = 30_000

interface Pending {
  bytes: Uint8ArrayList
  /** Called in the turn in which the last byte was handed to the stream. */
  handed: () => void
}

/**
 * A queue of frames for one stream. Its length is bounded by its users: by the questions open on the stream.
 *
 * `stream.onDrain()` is not used: its promise stays resolved after the first time. The 'drain' event is waited for instead.
 */
export class FrameWriter {
  readonly #stream: Stream
  readonly #fail: (error: Error) => void
  readonly #stallTimeout: number
  readonly #queue: Pending[] = []
  #busy = false

  constructor(stream: Stream, fail: (error: Error) => void, stallTimeout = STALL_TIMEOUT) {
    this.#stream = stream
    this.#fail = fail
    this.#stallTimeout = stallTimeout
  }

  /** Bytes accepted and not yet handed to the stream. */
  get queuedBytes(): number {
    return this.#queue.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
  }

  /** Queues a frame; the body must not change until `handed` was called. Failures are told to `fail` once. */
  write(head: Uint8Array, body: Uint8Array, handed: () => void = () => {}): void {
    this.#queue.push({
      bytes: body.byteLength === 0 ? new Uint8ArrayList(head) : new Uint8ArrayList(head, body),
      handed,
    })
    if (this.#busy) return
    this.#busy = true
    this.#pump().catch((error: Error) => {
      this.#busy = false
      this.#queue.length = 0
      this.#fail(error)
    })
  }

  async #pump(): Promise<void> {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      while (next.bytes.byteLength > 0) {
        const length = Math.min(SLICE_BYTES, next.bytes.byteLength)
        const slice = next.bytes.sublist(0, length)
        next.bytes.consume(length)
        if (next.bytes.byteLength === 0) {
          this.#queue.shift()
          next.handed()
        }
        this.#stream.send(slice)
        if (this.#stream.writableNeedsDrain) await this.#drained()
      }
    }
    this.#busy = false
  }

  #drained(): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer)
        stream.removeEventListener('drain', onDrain)
        stream.removeEventListener('close', onClose)
      }
      // The stream goes on sending what it buffered in a microtask after 'drain'; look again only then.
      const onDrain = (): void => {
        queueMicrotask(() => {
          if (stream.writableNeedsDrain && stream.status === 'open') return
          stop()
          resolve()
        })
      }
      const onClose = (): void => {
        stop()
        reject(new StarlingError('peer-unreachable', 'the stream was closed while writing to it'))
      }
      const timer = setTimeout(() => {
        stop()
        reject(new StarlingError('peer-stalled', `the peer took less than a slice in ${this.#stallTimeout} ms`))
      }, this.#stallTimeout)
      stream.addEventListener('drain', onDrain)
      stream.addEventListener('close', onClose)
    })
  }
}
