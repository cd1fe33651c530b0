/** A node that only pretends, for the tests of the API and for work on the page. Nothing on a user's path imports it. */
import { createEventLog } from '../../events/index.ts'
import type { DaemonEvent, Explanation, NodeEvent, NodeStatus, PeerStatus } from '../../types.ts'
import type { ApiNode } from '../server.ts'

type AnyEvent = NodeEvent extends infer E
  ? E extends NodeEvent
    ? Omit<E, 'sequence' | 'peer' | 'time'>
    : never
  : never

/** Sixteen characters of difference at the end, as real peer ids have. */
export const FAKE_PEERS = ['Qm5a', 'Kx7f', 'Tz2r', 'Wd9m'].map(
  (tail) => `12D3KooWFakePeerForTheTestsOnly1111111111111111${tail}1`,
)

export interface FakeNode extends ApiNode {
  /** Puts an event into the log, as if it had happened at that peer (default: this node) at that time. */
  emit(event: AnyEvent | DaemonEvent, peer?: string, time?: number): NodeEvent
  readonly stopped: string[]
  setStatus(changes: Partial<NodeStatus>): void
  setPeers(peers: PeerStatus[]): void
  setExplanation(explanation: Explanation): void
}

/** Makes one. `self` is the first of {@link FAKE_PEERS}. */
export function createFakeNode(): FakeNode {
  const self = FAKE_PEERS[0] as string
  const log = createEventLog({ self })
  const stopped: string[] = []
  let status: NodeStatus = {
    peer: self,
    name: 'fake',
    run: 'bafyreifakefakefakefakefakefakefakefakefakefakefakefakefake',
    runName: 'stories',
    link: 'starling:bafyreifakefakefakefakefakefakefakefakefakefakefakefakefake?at=%2Fip4%2F192.0.2.7%2Ftcp%2F4801',
    version: '0.1.0',
    phase: 'training',
    strategy: 'noloco',
    model: { preset: 'gpt-nano', parameters: 820_608 },
    engine: { name: 'native', why: 'TensorFlow 2.21 with AVX-512' },
    step: 0,
    steps: 1_200,
    round: 0,
    loss: null,
    validationLoss: null,
    members: FAKE_PEERS.length,
    connections: 3,
    listen: ['/ip4/127.0.0.1/tcp/4801'],
    bytesSent: 0,
    bytesReceived: 0,
    eventLoop: { p50: 1.1, p99: 4.2, max: 12.5 },
    memory: { rss: 412e6 },
    uptimeSeconds: 12,
    pid: process.pid,
    dataFolder: '/data/peer-1',
  }
  let peers: PeerStatus[] = []
  let explanation: Explanation = {
    state: 'training',
    tone: 'good',
    because: 'Step 0 of 1200; 3 other peers in view.',
    since: Date.now(),
    advice: [],
  }
  return {
    emit: (event, peer = self, time = Date.now()) => log.merge(peer, time, event as never),
    stopped,
    setStatus(changes) {
      status = { ...status, ...changes }
    },
    setPeers(next) {
      peers = next
    },
    setExplanation(next) {
      explanation = next
    },
    status: () => status,
    explain: () => [{ ...explanation, peer: self, name: status.name }],
    peers: () => peers,
    events: (after) => log.since(after),
    onEvent: (listener) => log.listen(listener),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'starling_step 7\n' }),
    generate: async ({ prompt, tokens }) => `${prompt}${' la'.repeat(Math.min(tokens, 5))}`,
    stop: async (reason) => {
      stopped.push(reason)
    },
  }
}
