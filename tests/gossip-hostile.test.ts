/** Real nodes that gossip models, and one that sends what nobody may send: each time a reason, in the end a ban, and the others go on. */
import '../daemon/shims.ts'
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { MANY_NEWCOMERS, startNode, type TestNode, until } from '../daemon/network/testing.ts'
import { loadKernels, SharedVectors } from '../kernels/index.ts'
import { fragmentMessage } from '../protocols/gossip/messages.ts'
import { differenceMessage } from '../protocols/gossip/replicas/messages.ts'
import {
  attacks,
  codecs,
  createBlobs,
  createSwarm,
  FRAGMENTS_TOPIC,
  gossip,
  gossipOptionsSchema,
  HEARTBEAT_TOPIC,
  manifestBytes,
  type StrategyEvent,
} from '../protocols/index.ts'
import { createQuadraticLearner } from '../simulator/index.ts'

const SIZE = 1_024
const STEPS = 1_000_000

/** A node that trains until the test ends. */
interface Peer {
  node: TestNode
  events: StrategyEvent[]
  /** May be called twice. */
  stop(): Promise<void>
}

async function start(
  t: TestContext,
  strategy: Record<string, unknown>,
  { bootstrap = [], attack }: { bootstrap?: readonly string[]; attack?: string } = {},
): Promise<Peer> {
  // An attacker must come again until it is banned, and the next one after it.
  const node = await startNode(t, { topics: [HEARTBEAT_TOPIC, FRAGMENTS_TOPIC], bootstrap, limits: MANY_NEWCOMERS })
  const options = gossipOptionsSchema.parse(strategy)
  const vector = { type: 'float32' as const, length: SIZE }
  const vectors = SharedVectors.create({ theta: vector, gradient: vector, ...gossip.vectors(SIZE, options) })
  vectors.float32('theta').fill(3)
  const honest = createQuadraticLearner({
    clock: node.clock,
    vectors,
    seed: node.self,
    milliseconds: 100,
    kernels: loadKernels(vectors),
  })
  const learner =
    attack === undefined
      ? honest
      : attacks.hostileLearner(honest, {
          attack,
          seed: 'liar',
          symmetries: [],
          sends: gossip.sends ?? [],
          crowd: () => ({ peers: 3, faulty: 1 }),
        })
  const swarm = createSwarm(node, { run: 'bafytestrun', incarnation: 1 })
  const blobs = createBlobs(node)
  const events: StrategyEvent[] = []
  const records = new Map<string, Uint8Array>()
  const running = gossip.create(options, {
    swarm,
    learner,
    blobs,
    report: (event) => void events.push(event),
    records: {
      get: async (key) => records.get(key),
      put: async (key, value) => void records.set(key, value),
      delete: async (key) => void records.delete(key),
      keys: async () => [...records.keys()],
    },
    manifest: manifestBytes({ name: 'hostile' }),
    training: { steps: STEPS, evaluateEvery: STEPS },
  })
  const end = new AbortController()
  await swarm.start()
  const done = running.run(end.signal)
  const stop = async (): Promise<void> => {
    end.abort()
    await done
    blobs.stop()
    await swarm.stop()
  }
  t.after(stop)
  return { node, events, stop }
}

/** Fragments of others that had a say so far. */
const mixed = ({ events }: Peer): number =>
  events.reduce((sum, event) => sum + (event.kind === 'mixed' ? event.fragments : 0), 0)

/** Sends, one after the other, until the victim has banned the attacker, whose connections it closes meanwhile. Resolves to the ban's reason. */
async function untilBanned(victim: TestNode, attacker: TestNode, send: () => Promise<unknown>): Promise<string> {
  const banned = (): string | undefined => victim.bans().find(({ peer }) => peer === attacker.self)?.reason
  let sending = false
  await until(() => {
    if (!sending) {
      sending = true
      void send()
        .catch(() => undefined)
        .finally(() => {
          sending = false
        })
    }
    return banned() !== undefined
  }, 'the ban')
  return banned() as string
}

/** Bytes that claim to be a map of 2^32 values, or a text of 4 GiB: what would be built from them must not be. */
const BOMBS = [Uint8Array.of(0xba, 0xff, 0xff, 0xff, 0xff), Uint8Array.of(0xa1, 0x7a, 0xff, 0xff, 0xff, 0xff)]

const head = { turn: 3, step: 15 }
const fragment = codecs.int8.bytes(SIZE / 4)
const difference = { ...head, generation: 1, sequence: 3, energy: 1 }

test('differences for replicas: what is no difference is refused with its reason, its sender banned, and the others go on', async (t) => {
  const strategy = { codec: 'topk', interval: 1, rule: 'mean' }
  const size = codecs.topk.bytes(SIZE)
  const cases: [string, Uint8Array][] = [
    ['bad-fragment', BOMBS[1]!],
    ['fragment-size', differenceMessage.encode({ ...difference, bytes: new Uint8Array(size - 1) })],
  ]
  const victim = await start(t, strategy)
  const friend = await start(t, strategy, { bootstrap: victim.node.addresses() })
  for (const [reason, bytes] of cases) {
    const attacker = await start(t, strategy, { bootstrap: victim.node.addresses() })
    await until(() => mixed(attacker) > 0, 'the attacker to be one of them')
    const send = (): Promise<unknown> => attacker.node.ask(victim.node.self, 'gossip-difference', bytes)
    assert.equal(await untilBanned(victim.node, attacker.node, send), reason)
    // One that is refused dials again and again.
    await attacker.stop()
    await attacker.node.stop()
  }
  // What looks like a difference and is none: positions that repeat, tables that are not finite.
  const liar = await start(t, strategy, { bootstrap: victim.node.addresses(), attack: 'nan' })
  assert.equal(await untilBanned(victim.node, liar.node, async () => {}), 'bad-tensor')
  const before = mixed(victim)
  await until(() => mixed(victim) > before + 5, 'the others to go on')
  assert.ok(!victim.node.bans().some(({ peer }) => peer === friend.node.self))
})

test('fragments for all: what is no fragment is refused with its reason, its forwarder banned, and the others go on', async (t) => {
  const strategy = { interval: 1, fragments: 4 }
  const announced = { root: 'ab'.repeat(32), size: fragment }
  const cases: [string, () => Uint8Array][] = [
    ['bad-fragment', () => BOMBS[0]!],
    ['fragment-size', () => fragmentMessage.encode({ ...head, bytes: new Uint8Array(fragment + 4) })],
    ['fragment-size', () => fragmentMessage.encode({ ...head, ...announced })],
    ['beyond-steps', () => fragmentMessage.encode({ ...head, step: STEPS + 1, bytes: new Uint8Array(fragment) })],
  ]
  const victim = await start(t, strategy)
  const friend = await start(t, strategy, { bootstrap: victim.node.addresses() })
  for (const [reason, make] of cases) {
    const attacker = await startNode(t, {
      topics: [HEARTBEAT_TOPIC, FRAGMENTS_TOPIC],
      bootstrap: victim.node.addresses(),
    })
    attacker.subscribe(FRAGMENTS_TOPIC, { validate: () => ({ verdict: 'accept' }), handle: () => {} })
    await until(() => attacker.subscribers(FRAGMENTS_TOPIC).includes(victim.node.self), 'the subscription')
    const send = (): Promise<unknown> => attacker.publish(FRAGMENTS_TOPIC, make())
    assert.equal(await untilBanned(victim.node, attacker, send), reason)
    await attacker.stop()
  }
  const before = mixed(victim)
  await until(() => mixed(victim) > before + 5, 'the others to go on')
  assert.ok(!victim.node.bans().some(({ peer }) => peer === friend.node.self))
})
