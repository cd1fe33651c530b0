import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RPC } from '@libp2p/gossipsub/message'
import fc from 'fast-check'
import { frameBytes, type GossipFrame } from './frames.ts'
import { GOSSIP_DEFAULTS } from './parameters.ts'

const { topicPrefix } = GOSSIP_DEFAULTS
const full = (topic: string): string => 'x'.repeat(topicPrefix) + topic
const ids = (list: readonly number[] = []): Uint8Array[] => list.map(() => new Uint8Array(44))

/** The same frame as js-libp2p's router would send it, less its length prefix. */
function encoded(frame: GossipFrame): Uint8Array {
  const control = {
    ihave: [...(frame.ihave ?? [])].map(([topic, list]) => ({ topicID: full(topic), messageIDs: ids(list) })),
    iwant: frame.iwant === undefined ? [] : [{ messageIDs: ids(frame.iwant) }],
    idontwant: frame.idontwant === undefined ? [] : [{ messageIDs: ids(frame.idontwant) }],
    graft: (frame.graft ?? []).map((topic) => ({ topicID: full(topic) })),
    prune: (frame.prune ?? []).map(({ topic, backoff }) => ({
      topicID: full(topic),
      peers: [],
      backoff: backoff / 1000,
    })),
  }
  return RPC.encode({
    subscriptions: (frame.subscriptions ?? []).map(({ topic, subscribe }) => ({ topic: full(topic), subscribe })),
    messages: (frame.messages ?? []).map(({ news }) => ({
      from: new Uint8Array(38),
      data: news.data,
      seqno: new Uint8Array(8),
      topic: full(news.topic),
      signature: new Uint8Array(64),
      key: new Uint8Array(36),
    })),
    ...(Object.values(control).some((list) => list.length > 0) && { control }),
  })
}

const topic = fc.stringMatching(/^[a-z-]{1,70}$/)
const idList = fc.array(fc.nat(), { minLength: 1, maxLength: 30 })
const copy = fc.record({
  news: fc.record({
    id: fc.nat(),
    topic,
    from: fc.constant('peer'),
    // Around the lengths at which a varint grows.
    data: fc.oneof(fc.nat(300), fc.integer({ min: 16_000, max: 17_000 })).map((length) => new Uint8Array(length)),
  }),
  hops: fc.nat(9),
})
const frames: fc.Arbitrary<GossipFrame> = fc.record(
  {
    subscriptions: fc.array(fc.record({ topic, subscribe: fc.constant(true) }), { minLength: 1, maxLength: 5 }),
    messages: fc.array(copy, { minLength: 1, maxLength: 3 }),
    ihave: fc.array(fc.tuple(topic, idList), { minLength: 1, maxLength: 3 }).map((entries) => new Map(entries)),
    iwant: idList,
    idontwant: idList,
    graft: fc.array(topic, { minLength: 1, maxLength: 3 }),
    prune: fc.array(fc.record({ topic, backoff: fc.constantFrom(10_000, 60_000) }), { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: [] },
)

test('a frame is counted as long as the real router encodes it', () => {
  fc.assert(
    fc.property(frames, (frame) => {
      const { byteLength } = encoded(frame)
      const prefix = byteLength === 0 ? 0 : byteLength < 128 ? 1 : byteLength < 16_384 ? 2 : 3
      assert.equal(frameBytes(frame, topicPrefix), byteLength + prefix)
    }),
    { seed: 1, numRuns: 200 },
  )
})
