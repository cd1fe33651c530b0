/** Counts bytes by purpose, and on the sockets through libp2p's metrics interface. */
import type { Metrics, MultiaddrConnection, Stream } from '@libp2p/interface'
import { RELAY_PROTOCOLS } from './reachability/index.ts'
import type { ByteCount, NetworkCounters, RejectReason } from './types.ts'

/** Methods and topics are this program's own; protocols come from the registered ones. A bug must not grow a table without end. */
const MAX_NAMES = 256

interface Traffic {
  send(data: { byteLength: number }): boolean
  onData(data: { byteLength: number }): void
}

export class Counters {
  readonly #wire: ByteCount = { sent: 0, received: 0 }
  readonly #ask = new Map<string, ByteCount>()
  readonly #asked = new Map<string, { questions: number; milliseconds: number }>() // at most MAX_NAMES
  readonly #gossip = new Map<string, ByteCount>()
  readonly #protocols = new Map<string, ByteCount>()
  readonly #rejected = new Map<RejectReason, number>()
  dials = 0
  dialFailures = 0

  ask(method: string, sent: number, received: number): void {
    add(this.#ask, method, sent, received)
  }

  /** A question of this peer is answered, or given up, after so many milliseconds. */
  asked(method: string, milliseconds: number): void {
    const key = this.#asked.has(method) || this.#asked.size < MAX_NAMES ? method : 'other'
    const before = this.#asked.get(key) ?? { questions: 0, milliseconds: 0 }
    this.#asked.set(key, { questions: before.questions + 1, milliseconds: before.milliseconds + milliseconds })
  }

  gossip(topic: string, sent: number, received: number): void {
    add(this.#gossip, topic, sent, received)
  }

  rejected(reason: RejectReason): void {
    this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1)
  }

  /** Bytes on the sockets so far. */
  get wire(): ByteCount {
    return { ...this.#wire }
  }

  snapshot(connections: number): NetworkCounters {
    return {
      wire: { ...this.#wire },
      ask: plain(this.#ask),
      asked: plain(this.#asked),
      gossip: plain(this.#gossip),
      protocols: plain(this.#protocols),
      relayed: sum(RELAY_PROTOCOLS.map((name) => this.#protocols.get(name))),
      rejected: Object.fromEntries(this.#rejected),
      connections,
      dials: this.dials,
      dialFailures: this.dialFailures,
    }
  }

  /**
   * The part of libp2p's metrics that sees every connection and stream; its own gauges are not kept. `send` and `onData` are wrapped
   * rather than 'message' listened to: a listener added before the encryption's would take the first bytes from it.
   */
  metrics(): Metrics {
    const count = (target: MultiaddrConnection | Stream, bytes: ByteCount): void => {
      const traffic = target as unknown as Traffic
      const { send, onData } = traffic
      traffic.send = (data) => {
        bytes.sent += data.byteLength
        return send.call(target, data)
      }
      traffic.onData = (data) => {
        bytes.received += data.byteLength
        onData.call(target, data)
      }
    }
    const none = (): void => {}
    const metric = { update: none, increment: none, decrement: none, reset: none, observe: none, timer: () => none }
    const register = (): typeof metric => metric
    return {
      trackMultiaddrConnection: (connection: MultiaddrConnection) => count(connection, this.#wire),
      trackProtocolStream: (stream: Stream) => count(stream, entry(this.#protocols, stream.protocol)),
      registerMetric: register,
      registerMetricGroup: register,
      registerCounter: register,
      registerCounterGroup: register,
      registerHistogram: register,
      registerHistogramGroup: register,
      registerSummary: register,
      registerSummaryGroup: register,
      traceFunction: <F>(_name: string, traced: F) => traced,
      createTrace: none,
    } as unknown as Metrics
  }
}

function sum(counts: readonly (ByteCount | undefined)[]): ByteCount {
  const total = { sent: 0, received: 0 }
  for (const count of counts) {
    total.sent += count?.sent ?? 0
    total.received += count?.received ?? 0
  }
  return total
}

function entry(table: Map<string, ByteCount>, name: string): ByteCount {
  const known = table.get(name)
  if (known !== undefined) return known
  const key = table.size >= MAX_NAMES ? 'other' : name
  const fresh = table.get(key) ?? { sent: 0, received: 0 }
  table.set(key, fresh)
  return fresh
}

function add(table: Map<string, ByteCount>, name: string, sent: number, received: number): void {
  const bytes = entry(table, name)
  bytes.sent += sent
  bytes.received += received
}

function plain<Count extends object>(table: ReadonlyMap<string, Count>): Record<string, Count> {
  return Object.fromEntries([...table].map(([name, counts]) => [name, { ...counts }]))
}
