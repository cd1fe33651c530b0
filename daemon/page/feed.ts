/** The event stream of the node, kept open for as long as the page is. */
import type { Explained, NodeEvent, NodeStatus, PeerStatus } from '../types.ts'

/** Milliseconds before a stream that the node refused is tried again; the browser itself retries one that broke. */
const RETRY = 3_000

interface Snapshot {
  status?: NodeStatus
  peers?: PeerStatus[]
  explained?: Explained[]
}

export interface FeedHandlers {
  event(event: NodeEvent): void
  /** `status` is undefined while the node has no manifest. */
  snapshot(status: NodeStatus | undefined, peers: PeerStatus[], explained: Explained[]): void
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
      parsed(({ status, peers = [], explained = [] }: Snapshot) => handlers.snapshot(status, peers, explained)),
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
