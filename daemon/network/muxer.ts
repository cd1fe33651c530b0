/**
 * Yamux whose frames are refused by their headers.
 *
 * The decoder of @libp2p/yamux waits for a whole data frame before the stream's window is looked at, and its header may announce 4 GiB: whoever passed
 * the handshake could fill the memory. It also answers every ping and every refused stream, whether or not the other end reads. Both are bounded here, in front of it.
 *
 * And it opens a stream in a microtask, where nobody catches what is thrown when the connection has just ended: whoever died at the wrong moment would end the daemon.
 */
import type { MessageStream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import { yamux } from '@libp2p/yamux'
import type { Uint8ArrayList } from 'uint8arraylist'

/**
 * Largest window of a stream, bytes, and so the longest data frame that an honest peer may send: two chunks of a bulk pull are at most 2.1 MiB on their way,
 * and the longest frame of the gossip router is 2 MiB.
 */
export const MAX_WINDOW = 2 * 1024 * 1024
/** Bytes that wait for a peer to read, below its streams, before it is given up: streams wait themselves, so these are the muxer's own answers. */
export const MAX_UNSENT = 4 * 1024 * 1024
/** Streams that a peer may have open, in each direction: two lanes and spares, gossip, identify, ping. */
export const MAX_STREAMS = 64

const HEADER_BYTES = 12
const DATA = 0

/** Reads along with the muxer and keeps nothing but the header it is in. */
export class FrameWatch {
  readonly #head = new Uint8Array(HEADER_BYTES)
  #have = 0
  /** Bytes of the present frame's data still to come. */
  #rest = 0

  /** Throws at the header of a data frame longer than {@link MAX_WINDOW}. */
  push(data: Uint8Array | Uint8ArrayList): void {
    if (data instanceof Uint8Array) this.#pushBytes(data)
    else for (const bytes of data) this.#pushBytes(bytes)
  }

  #pushBytes(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.byteLength) {
      if (this.#rest > 0) {
        const taken = Math.min(this.#rest, bytes.byteLength - at)
        this.#rest -= taken
        at += taken
        continue
      }
      this.#head[this.#have++] = bytes[at++] as number
      if (this.#have === HEADER_BYTES) this.#header()
    }
  }

  #header(): void {
    this.#have = 0
    if (this.#head[1] !== DATA) return
    const length = new DataView(this.#head.buffer).getUint32(8)
    if (length > MAX_WINDOW) throw new Error(`a frame of ${length} bytes, at most ${MAX_WINDOW} are allowed`)
    this.#rest = length
  }
}

/** The muxer for createLibp2p; `window` is the largest of a stream, bytes. `refused` is told why a connection is given up, before it is, and over which muxer. */
export function boundedYamux(
  refused: (detail: string, muxer: StreamMuxer) => void,
  window = MAX_WINDOW,
): () => StreamMuxerFactory {
  return () => {
    const factory = yamux({
      maxInboundStreams: MAX_STREAMS,
      maxOutboundStreams: MAX_STREAMS,
      maxEarlyStreams: MAX_STREAMS,
      streamOptions: { maxStreamWindowSize: window },
    })()
    return {
      protocol: factory.protocol,
      createStreamMuxer(stream: MessageStream): StreamMuxer {
        const muxer = factory.createStreamMuxer(stream)
        const watch = new FrameWatch()
        const { onData } = muxer
        // What this throws, the muxer's listener catches, and aborts the connection.
        muxer.onData = (data) => {
          try {
            watch.push(data)
            if (stream.writeBufferLength > MAX_UNSENT)
              throw new Error('it sends, and does not read what it is answered')
          } catch (error) {
            refused((error as Error).message, muxer)
            throw error
          }
          onData.call(muxer, data)
        }
        quietControl(muxer)
        return muxer
      },
    }
  }
}

/**
 * Windows, answers to pings and farewells for a connection that has ended are not sent and not complained of: its streams are ended with it. They are sent from microtasks and
 * from the handling of errors, where an exception ends the process. What carries data still throws, to its writer.
 */
function quietControl(muxer: StreamMuxer): void {
  const inner = muxer as StreamMuxer & { sendFrame(header: { type: number }, data?: unknown): boolean }
  const { sendFrame } = inner
  inner.sendFrame = (header, data) => {
    try {
      return sendFrame.call(inner, header, data)
    } catch (error) {
      if (header.type === DATA) throw error
      inner.abort(error as Error)
      return false
    }
  }
}
