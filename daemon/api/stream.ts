/** Server-sent events: every reader gets the events it has not seen, then each new one, and is dropped when it cannot keep up. */
import type { ServerResponse } from 'node:http'
import type { NodeEvent } from '../types.ts'

/** Open streams; a page needs one. */
export const MAX_STREAMS = 32

/** Bytes waiting in one reader's socket before it is dropped; it comes back with Last-Event-ID and misses nothing that is kept. */
const MAX_WAITING = 8 * 1024 * 1024

/** Milliseconds between comments that keep proxies from closing a quiet stream. */
const HEARTBEAT = 15_000

/** Milliseconds between two looks at status and peers. */
const SNAPSHOT = 1_000

export interface StreamSource {
  events(after?: number): NodeEvent[]
  onEvent(listener: (event: NodeEvent) => void): () => void
  /** Sent as 'snapshot' whenever it changed. */
  snapshot(): unknown
}

export interface StreamHub {
  /** Takes over a response. `lastId` is what the reader saw last ("boot-sequence" or a sequence). False when too many are open. */
  open(response: ServerResponse, lastId: string | undefined): boolean
  /** Ends every stream. */
  close(): void
}

/** Makes the hub. Ids are `<boot>-<sequence>`, so that a reader of an earlier process is told to start again ('reset'). */
export function createStreamHub(source: StreamSource): StreamHub {
  const boot = Date.now().toString(36)
  const readers = new Set<ServerResponse>() // at most MAX_STREAMS
  let lastSnapshot = ''

  const send = (reader: ServerResponse, text: string): void => {
    if (reader.writableLength > MAX_WAITING) {
      readers.delete(reader)
      reader.destroy()
      return
    }
    reader.write(text)
  }
  const broadcast = (text: string): void => {
    for (const reader of readers) send(reader, text)
  }
  const line = (event: NodeEvent): string => `id: ${boot}-${event.sequence}\ndata: ${JSON.stringify(event)}\n\n`

  const unsubscribe = source.onEvent((event) => broadcast(line(event)))
  const heartbeat = setInterval(() => broadcast(': still here\n\n'), HEARTBEAT)
  const snapshots = setInterval(() => {
    if (readers.size === 0) return
    const text = JSON.stringify(source.snapshot())
    if (text === lastSnapshot) return
    lastSnapshot = text
    broadcast(`event: snapshot\ndata: ${text}\n\n`)
  }, SNAPSHOT)
  heartbeat.unref()
  snapshots.unref()

  return {
    open(response, lastId) {
      if (readers.size >= MAX_STREAMS) return false
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
      })
      const [, idBoot, idSequence] = /^(?:([0-9a-z]+)-)?(\d{1,15})$/.exec(lastId ?? '') ?? []
      const known = idBoot === undefined || idBoot === boot
      const events = source.events(known ? Number(idSequence ?? 0) : 0)
      const head = `retry: 1500\n\n${known ? '' : 'event: reset\ndata: {}\n\n'}`
      readers.add(response)
      send(response, `${head}event: snapshot\ndata: ${JSON.stringify(source.snapshot())}\n\n`)
      send(response, `${events.map(line).join('')}event: ready\ndata: {}\n\n`)
      response.on('close', () => readers.delete(response))
      response.on('error', () => readers.delete(response))
      return true
    },
    close() {
      unsubscribe()
      clearInterval(heartbeat)
      clearInterval(snapshots)
      for (const reader of readers) {
        reader.end()
        reader.socket?.destroySoon()
      }
      readers.clear()
    },
  }
}
