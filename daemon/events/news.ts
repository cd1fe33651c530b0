import { z } from 'zod'
import { defineMessage, RateLimit, StarlingError, type Swarm } from '../../protocols/index.ts'
import type { EventLog, OwnEvent } from './log.ts'

/** Gossip topic of what happened at each peer, so that the page of any node shows the whole run. */
export const NEWS_TOPIC = 'news'

/** Milliseconds between two batches of a peer: the page feels live, and the signature's cost is shared by several events. */
const NEWS_INTERVAL = 2_000

/** Largest batch, bytes; well below the gossip limit of 64 KiB. */
const BATCH_BYTES = 16 * 1024

/** Most events in a batch. */
const BATCH_EVENTS = 32

/** Stages of a pipeline that are told of, and holders of each: an event of 12 KiB at most. */
const TOLD_STAGES = 64
const TOLD_HOLDERS = 3

/** Peers that a stage's parameters came from. */
const TOLD_ORIGINS = 8

/** Own events waiting to be sent; the oldest point of a curve is dropped first. */
const QUEUE_EVENTS = 192

/** Batches that an author may send: one a second, eight at once; others are ignored. The longest silent of 1,024 authors is forgotten first. */
const AUTHOR_RATE = { rate: 1, burst: 8, keys: 1_024 }

/** Latest moment that a Date can hold, milliseconds since the epoch; beyond it every attempt to show the time throws. */
const LATEST_TIME = 8.64e15

const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const real = z.number()
const peer = z.string().regex(/^[1-9A-HJ-NP-Za-km-z]{1,64}$/)
const text = (longest: number) => z.string().max(longest)
const stage = z.number().int().min(0).max(1_000_000)
const origin = z.enum([
  'initial',
  'own',
  'replica',
  'moved',
  'average',
  'uniform',
  'twin',
  'neighbour',
  'random',
  'checkpoint',
])

/** The events that are told to others. Whatever is not named here stays at home: no paths, no addresses, no messages of exceptions. */
const publicEvent = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('step'),
    step: whole,
    loss: real,
    gradientNorm: real,
    learningRate: real,
    milliseconds: real,
    samples: whole,
  }),
  z.strictObject({ kind: z.literal('evaluation'), step: whole, round: whole, loss: real, accuracy: real.optional() }),
  z.strictObject({
    kind: z.literal('exchange'),
    round: whole,
    partner: peer,
    disagreement: real,
    codingError: real,
    share: real.optional(),
    bytesSent: whole,
    bytesReceived: whole,
    milliseconds: real,
  }),
  z.strictObject({
    kind: z.literal('exchange-skipped'),
    round: whole,
    partner: peer.optional(),
    reason: z.enum([
      'no-partner',
      'partner-late',
      'partner-ahead',
      'partner-lost',
      'view-mismatch',
      'bad-tensor',
      'too-far',
      'aborted',
    ]),
  }),
  z.strictObject({
    kind: z.literal('mixed'),
    round: whole,
    groups: whole,
    fragments: whole,
    leftOut: z.array(z.strictObject({ peer, times: whole })).max(16),
    corrected: whole,
    disagreement: real,
    codingError: real,
    bytesSent: whole,
    bytesReceived: whole,
  }),
  z.strictObject({
    kind: z.literal('joined'),
    donor: peer.optional(),
    step: whole,
    round: whole,
    bytes: whole,
    milliseconds: real,
  }),
  z.strictObject({
    kind: z.literal('waiting'),
    what: z.enum(['partner', 'replica', 'file', 'stage', 'contributions', 'others']).optional(),
    for: text(200),
    peer: peer.optional(),
  }),
  z.strictObject({ kind: z.literal('finished'), step: whole, round: whole }),
  z.strictObject({ kind: z.literal('rejected'), peer, what: text(64), reason: text(200) }),
  z.strictObject({
    kind: z.literal('contributions'),
    contributions: whole,
    authors: whole,
    digest: z.string().regex(/^[0-9a-f]{16}$/),
    added: z.number().int().min(-Number.MAX_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER),
  }),
  z.strictObject({ kind: z.literal('excluded'), peer, step: whole, own: z.boolean(), reason: text(200) }),
  z.strictObject({
    kind: z.literal('plan'),
    choice: z.enum(['snapshot', 'replay']),
    contributions: whole,
    replaySeconds: real,
    snapshotSeconds: real.optional(),
  }),
  z.strictObject({
    kind: z.literal('stage-taken'),
    stage,
    how: origin,
    from: z.array(peer).max(TOLD_ORIGINS),
    step: whole,
    degraded: z.boolean(),
    bytes: whole,
    milliseconds: real,
  }),
  z.strictObject({ kind: z.literal('stage-left'), stage, to: peer.optional(), step: whole }),
  z.strictObject({
    kind: z.literal('stage-lost'),
    stage,
    peer,
    step: whole,
    reason: z.enum(['disconnected', 'silent', 'refused']),
    others: whole,
  }),
  z.strictObject({
    kind: z.literal('stage-recovered'),
    stage,
    peer,
    how: origin,
    step: whole,
    lossBefore: real,
    lossAfter: real,
    milliseconds: real,
  }),
  z.strictObject({
    kind: z.literal('pipeline'),
    step: whole,
    microbatches: whole,
    inFlight: whole,
    retries: whole,
    holders: z.array(z.strictObject({ stage, peers: z.array(peer).max(TOLD_HOLDERS) })).max(TOLD_STAGES),
    bytesSent: whole,
    bytesReceived: whole,
  }),
  z.strictObject({ kind: z.literal('plan-agreed'), plan: text(64), paths: whole, seconds: real }),
  z.strictObject({ kind: z.literal('trainer-restarted'), step: whole }),
  z.strictObject({ kind: z.literal('sample'), step: whole, prompt: text(200), text: text(1_000) }),
])

/** One event of a batch, with the time on its author's clock. */
export interface NewsItem {
  time: number
  event: OwnEvent
}

const message = defineMessage(
  'news',
  z.strictObject({
    v: z.literal(1),
    items: z
      .array(z.strictObject({ time: whole.max(LATEST_TIME), event: publicEvent }))
      .min(1)
      .max(BATCH_EVENTS),
  }),
  { maxBytes: BATCH_BYTES, maxItems: BATCH_EVENTS * 96 },
)

/** True for an event that others are told of; one with a number that is not finite is not. */
export function isPublic(event: OwnEvent): boolean {
  return publicEvent.safeParse(event).success
}

/** One batch as bytes. Throws StarlingError 'bad-message' when it is too long. */
export function encodeNews(items: readonly NewsItem[]): Uint8Array {
  return message.encode({ v: 1, items: items as never })
}

/** Reads a batch of a stranger. Throws StarlingError 'bad-message' for anything that is not one. */
export function decodeNews(data: Uint8Array): NewsItem[] {
  return message.decode(data).items as NewsItem[]
}

/** An event as others are told of it: of a pipeline with many holders, the first ones. */
function told(event: OwnEvent): OwnEvent {
  if (event.kind === 'pipeline') {
    const some = event.holders.slice(0, TOLD_STAGES)
    return { ...event, holders: some.map(({ stage, peers }) => ({ stage, peers: peers.slice(0, TOLD_HOLDERS) })) }
  }
  if (event.kind === 'stage-taken') return { ...event, from: event.from.slice(0, TOLD_ORIGINS) }
  return event
}

export interface News {
  /** Tells the others of an event of this node, with the next batch. Events that are not public are left out. */
  tell(event: OwnEvent, time: number): void
  /** Sends what waits and stops. */
  stop(): Promise<void>
}

/**
 * Sends this node's public events to the run in small signed batches and merges those of the others into `log`. The author is the signer of the
 * gossip message; a batch cannot speak for somebody else.
 */
export function createNews(modules: { swarm: Swarm; log: EventLog }): News {
  const { swarm, log } = modules
  const stopped = new AbortController()
  const queue: (NewsItem & { bytes: number })[] = [] // at most QUEUE_EVENTS
  const rates = new RateLimit(AUTHOR_RATE)

  const unsubscribe = swarm.subscribe(NEWS_TOPIC, {
    validate({ from, data }) {
      if (!rates.allow(from, 1, swarm.clock.now())) return { verdict: 'ignore', reason: 'rate' }
      try {
        decodeNews(data)
        return { verdict: 'accept' }
      } catch (error) {
        // Events that a later version tells of are no fault of its honest forwarders.
        const misfit = error instanceof StarlingError && error.data.misfit === true
        return misfit
          ? { verdict: 'ignore', reason: 'unknown-event' }
          : { verdict: 'reject', reason: error instanceof StarlingError ? error.code : 'bad-message' }
      }
    },
    handle({ from, data }) {
      if (from === swarm.self) return
      for (const { time, event } of decodeNews(data)) log.merge(from, time, event)
    },
  })

  const send = async (): Promise<void> => {
    while (queue.length > 0) {
      let count = 0
      let bytes = 0
      while (count < Math.min(queue.length, BATCH_EVENTS)) {
        bytes += queue[count]?.bytes ?? 0
        if (count > 0 && bytes > BATCH_BYTES) break
        count += 1
      }
      const items = queue.splice(0, count).map(({ time, event }) => ({ time, event }))
      await swarm.publish(NEWS_TOPIC, encodeNews(items))
    }
  }

  const loop = (async () => {
    while (!stopped.signal.aborted) {
      try {
        await swarm.clock.sleep(NEWS_INTERVAL, stopped.signal)
        await send()
      } catch (error) {
        // News is worth nothing without somebody to hear it: a failed batch is lost, the next one is tried.
        if (stopped.signal.aborted) return
        if (!(error instanceof Error)) throw error
      }
    }
  })()

  return {
    tell(event, time) {
      const item = { time: Math.min(LATEST_TIME, Math.max(0, Math.round(time))), event: told(event) }
      if (!isPublic(item.event)) return
      // Each as long as a batch of its own, which is a little more than it adds to one.
      queue.push({ ...item, bytes: encodeNews([item]).length })
      if (queue.length <= QUEUE_EVENTS) return
      const point = queue.findIndex((item) => item.event.kind === 'step' || item.event.kind === 'pipeline')
      queue.splice(Math.max(0, point), 1)
    },
    async stop() {
      unsubscribe()
      stopped.abort()
      await loop
      // The last words (finished) go out if the network still takes them.
      await send().catch(() => {})
    },
  }
}
