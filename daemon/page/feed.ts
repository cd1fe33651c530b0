/** The event stream of the node, kept open for as long as the page is. */
import type { NodeEvent, NodeStatus, PeerStatus } from '../types.ts'

/** Milliseconds before a stream that the node refused is tried again; the browser itself retries one that broke. */
const RETRY = 3_000

export interface FeedHandlers {
  event(event: NodeEvent): void
  snapshot(status: NodeStatus, peers: PeerStatus[]): void
  /** The node is another process than before: everything known is void. */
  reset(): void
  /** The stream broke or came back. */
  live(connected: boolean): void
}

/** Follows the stream. After a break the browser asks for what it missed by the id of the last event. */
export function follow(handlers: FeedHandlers): void {
  let lastId = ''
  const open = (): void => {
    const source = new EventSource(`api/events/stream${lastId === '' ? '' : `?after=${lastId}`}`)
    const parsed =
      (handle: (data: never) => void) =>
      (message: MessageEvent<string>): void => {
        if (message.lastEventId !== '') lastId = message.lastEventId
        handle(JSON.parse(message.data) as never)
      }
    source.onopen = () => handlers.live(true)
    source.onmessage = parsed((event: NodeEvent) => handlers.event(event))
    source.addEventListener(
      'snapshot',
      parsed(({ status, peers }: { status: NodeStatus; peers: PeerStatus[] }) => handlers.snapshot(status, peers)),
    )
    source.addEventListener('reset', () => handlers.reset())
    source.onerror = () => {
      handlers.live(false)
      if (source.readyState !== EventSource.CLOSED) return
      setTimeout(open, RETRY)
    }
  }
  open()
}
