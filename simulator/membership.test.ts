import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encode } from 'cborg'
import {
  createSwarm,
  HEARTBEAT_TOPIC,
  type Heartbeat,
  heartbeatMessage,
  type MemberChange,
  type RunningSwarm,
  StarlingError,
  type SwarmOptions,
  seededRandom,
} from '../protocols/index.ts'
import { createMemoryNetwork, type MemoryNetwork, type MemoryPeer } from './index.ts'

const RUN = 'the run'
const names = (swarm: RunningSwarm): string[] => swarm.members().map(({ peer }) => peer)

interface Node {
  peer: MemoryPeer
  swarm: RunningSwarm
  changes: string[]
}

function node(peer: MemoryPeer, incarnation = 1, options: Partial<SwarmOptions> = {}): Node {
  const changes: string[] = []
  const onChange = ({ kind, member }: MemberChange): void => {
    changes.push(`${kind} ${member.peer}`)
  }
  return { peer, changes, swarm: createSwarm(peer, { run: RUN, incarnation, onChange, ...options }) }
}

async function started(network: MemoryNetwork, count: number, options: Partial<SwarmOptions> = {}): Promise<Node[]> {
  const nodes = Array.from({ length: count }, () => node(network.join(), 1, options))
  for (const { swarm } of nodes) {
    await swarm.start()
  }
  return nodes
}

const statusOf = (values: Partial<Heartbeat['status']> = {}): Heartbeat['status'] => ({
  incarnation: 1,
  phase: 'training',
  step: 0,
  round: 0,
  bytesSent: 0,
  bytesReceived: 0,
  ...values,
})

/** Says as `peer` that it is well. */
const say = (peer: MemoryPeer, sequence: number, values?: Partial<Heartbeat['status']>): Promise<number> =>
  peer.publish(HEARTBEAT_TOPIC, heartbeatMessage.encode({ sequence, interval: 2_000, status: statusOf(values) }))

describe('membership', () => {
  test('everyone sees everyone, and what they say of themselves', async () => {
    const network = createMemoryNetwork({ seed: 1, loss: 0.1, gossip: 'mesh' })
    const nodes = await started(network, 10)
    await network.clock.advance(15_000)
    for (const { peer, swarm, changes } of nodes) {
      assert.deepEqual(names(swarm), network.peers.filter((name) => name !== peer.self).sort())
      assert.equal(changes.length, 9)
      assert.equal(swarm.run, RUN)
    }
    nodes[0]?.swarm.announce({ phase: 'training', step: 7, loss: 2.5 })
    let told = 0
    nodes[1]?.swarm.onMembers(() => told++)
    await network.clock.advance(12_000)
    const seen = nodes[1]?.swarm.members().find(({ peer }) => peer === 'peer-0')
    assert.deepEqual(seen?.status, statusOf({ step: 7, loss: 2.5 }))
    assert.ok(told > 0)
  })

  test('news that cannot wait goes out at once, and never faster than ten times a second', async () => {
    const network = createMemoryNetwork({ seed: 1, latency: [10, 10] })
    const [a, b] = (await started(network, 2)) as [Node, Node]
    await network.clock.advance(1_000)
    a.swarm.announce({ round: 1 }, true)
    await network.clock.advance(15)
    assert.equal(b.swarm.members()[0]?.status.round, 1)
    let heard = 0
    b.swarm.onMembers(() => heard++)
    for (let round = 2; round <= 200; round++) {
      a.swarm.announce({ round }, true)
      await network.clock.advance(10)
    }
    await network.clock.advance(110)
    assert.equal(b.swarm.members()[0]?.status.round, 200)
    assert.ok(heard > 5 && heard <= 25, String(heard))
  })

  test('a peer that dies is silent after eight seconds; one that leaves is gone at once', async () => {
    const network = createMemoryNetwork({ seed: 2 })
    const [a, b, c] = (await started(network, 3)) as [Node, Node, Node]
    await network.clock.advance(3_000)
    b.peer.kill()
    await c.swarm.stop()
    await network.clock.advance(100)
    assert.deepEqual(names(a.swarm), ['peer-1'])
    assert.deepEqual(a.changes.slice(2), ['left peer-2'])
    const dead = network.clock.now()
    await network.clock.runUntil(() => a.changes.includes('silent peer-1'), 20_000)
    const after = network.clock.now() - dead
    assert.ok(after > 5_500 && after < 9_000, String(after))
    assert.deepEqual(names(a.swarm), [])
  })

  test('a partition splits the view and healing joins it again', async () => {
    const network = createMemoryNetwork({ seed: 3 })
    const nodes = await started(network, 6)
    await network.clock.advance(3_000)
    network.partition(['peer-0', 'peer-1', 'peer-2'], ['peer-3', 'peer-4', 'peer-5'])
    await network.clock.advance(60_000)
    assert.deepEqual(names(nodes[0]!.swarm), ['peer-1', 'peer-2'])
    assert.deepEqual(names(nodes[5]!.swarm), ['peer-3', 'peer-4'])
    network.healAll()
    await network.clock.advance(3_000)
    for (const { swarm } of nodes) {
      assert.equal(swarm.members().length, 5)
    }
  })

  test('a restart is seen, and heartbeats of the process before it are not believed', async () => {
    const network = createMemoryNetwork({ seed: 4, latency: [1, 5] })
    const [a, b] = (await started(network, 2)) as [Node, Node]
    await network.clock.advance(1_000)
    b.swarm.announce({ step: 500 }, true)
    await network.clock.advance(1_000)
    b.peer.kill()
    b.peer.revive()
    const again = node(b.peer, 2)
    await again.swarm.start()
    await network.clock.advance(50)
    assert.deepEqual(a.changes, ['joined peer-1', 'restarted peer-1'])
    assert.equal(a.swarm.members()[0]?.status.step, 0)
    await say(b.peer, 1_000_000, { incarnation: 1, step: 999 })
    await network.clock.advance(50)
    assert.equal(a.swarm.members()[0]?.status.step, 0)
    assert.equal(a.swarm.members()[0]?.status.incarnation, 2)
  })

  test('late, repeated and overtaken heartbeats change nothing, and bring no one back', async () => {
    const network = createMemoryNetwork({ seed: 5, latency: [1, 1] })
    const a = node(network.join('a'))
    const b = network.join('b')
    await a.swarm.start()
    await say(b, 3, { step: 30 })
    await network.clock.advance(10)
    let told = 0
    a.swarm.onMembers(() => told++)
    await say(b, 2, { step: 20 })
    await say(b, 3, { step: 30 })
    await network.clock.advance(10)
    assert.equal(told, 0)
    assert.equal(a.swarm.members()[0]?.status.step, 30)
    await network.clock.advance(20_000)
    assert.deepEqual(names(a.swarm), [])
    await say(b, 3, { step: 30 })
    await network.clock.advance(10)
    assert.deepEqual(names(a.swarm), [], 'a replay is no sign of life')
    await say(b, 4, { step: 40 })
    await network.clock.advance(10)
    assert.deepEqual(names(a.swarm), ['b'])
    await say(b, 5, { phase: 'leaving' })
    await say(b, 4, { step: 40 })
    await network.clock.advance(10)
    assert.deepEqual(names(a.swarm), [])
    assert.deepEqual(a.peer.penalties, [], 'none of this is a proven fault')
  })

  test('clocks that are wrong by minutes and run fast or slow do no harm', async () => {
    const network = createMemoryNetwork({ seed: 6 })
    const nodes = [-600_000, 0, 3_600_000].map((skew, index) => {
      const peer = network.join()
      const speed = [0.99, 1, 1.01][index] as number
      const clock = {
        now: () => network.clock.now() * speed + skew,
        sleep: (milliseconds: number, signal?: AbortSignal) => network.clock.sleep(milliseconds / speed, signal),
      }
      return node(Object.create(peer, { clock: { value: clock } }) as MemoryPeer)
    })
    for (const { swarm } of nodes) {
      await swarm.start()
    }
    await network.clock.advance(120_000)
    for (const { swarm, changes } of nodes) {
      assert.equal(swarm.members().length, 2)
      assert.equal(changes.length, 2, 'joined once each and never silent')
    }
  })

  test('the number of members is bounded: the longest silent makes room, a live one never does', async () => {
    const network = createMemoryNetwork({ seed: 7, latency: [1, 1] })
    const a = node(network.join('a'), 1, { maxMembers: 3 })
    await a.swarm.start()
    const others = Array.from({ length: 6 }, (_, index) => network.join(`b${index}`))
    for (const peer of others.slice(0, 4)) {
      await say(peer, 1)
      await network.clock.advance(100)
    }
    assert.deepEqual(names(a.swarm), ['b0', 'b1', 'b2'])
    await network.clock.advance(4_000)
    await say(others[1]!, 2)
    await network.clock.advance(4_000)
    await say(others[4]!, 1)
    await network.clock.advance(100)
    assert.deepEqual(names(a.swarm), ['b1', 'b4'])
    await say(others[5]!, 1)
    await network.clock.advance(100)
    assert.deepEqual(names(a.swarm), ['b1', 'b4', 'b5'])
  })

  test('a peer that floods heartbeats is held to its rate', async () => {
    const network = createMemoryNetwork({ seed: 8, latency: [1, 1] })
    const a = node(network.join('a'))
    const b = network.join('b')
    await a.swarm.start()
    let told = 0
    a.swarm.onMembers(() => told++)
    for (let sequence = 1; sequence <= 1000; sequence++) {
      await say(b, sequence)
    }
    await network.clock.advance(500)
    assert.ok(told >= 100 && told <= 111, String(told))
  })

  test('what is no heartbeat is rejected with a reason, and never kills the swarm', async () => {
    const network = createMemoryNetwork({ seed: 9, latency: [1, 1] })
    const a = node(network.join('a'))
    const b = network.join('b')
    await a.swarm.start()
    const random = seededRandom('heartbeats')
    const good = heartbeatMessage.encode({ sequence: 5, interval: 2_000, status: statusOf({ loss: 1.5 }) })
    const rounds = 3_000
    for (let round = 0; round < rounds; round++) {
      const bytes =
        round % 2 === 0 ? Uint8Array.from({ length: random.integer(200) }, () => random.integer(256)) : good.slice()
      for (let flips = random.integer(3) + 1; flips > 0 && round % 2 === 1; flips--) {
        bytes[random.integer(bytes.length)] = random.integer(256)
      }
      await b.publish(HEARTBEAT_TOPIC, bytes)
    }
    await network.clock.advance(100)
    assert.ok(a.peer.penalties.length > 900)
    assert.ok(a.peer.penalties.every(({ peer, reason }) => peer === 'b' && reason === 'bad-heartbeat'))
    assert.ok(a.swarm.members().length <= 1)
    const impossible: Partial<Heartbeat['status']>[] = [{ step: -1 }, { step: 0.5 }, { round: 2 ** 50 }]
    for (const values of impossible) {
      assert.throws(
        () => heartbeatMessage.encode({ sequence: 1, interval: 2_000, status: statusOf(values) }),
        StarlingError,
      )
      assert.throws(
        () => a.swarm.announce(values),
        (error) => error instanceof StarlingError && error.code === 'bad-status',
      )
    }
  })

  test('a heartbeat of a later version is ignored, and costs its forwarders nothing', async () => {
    const network = createMemoryNetwork({ seed: 14, latency: [1, 1] })
    const a = node(network.join('a'))
    const b = network.join('b')
    await a.swarm.start()
    await b.publish(
      HEARTBEAT_TOPIC,
      encode({ sequence: 1, interval: 2_000, status: { ...statusOf(), fromALaterVersion: 1 } }),
    )
    await network.clock.advance(100)
    assert.deepEqual([a.peer.penalties, names(a.swarm)], [[], []])
  })

  test('a loss that no heartbeat can carry is left out of it', async () => {
    const network = createMemoryNetwork({ seed: 12, latency: [1, 1] })
    const [a, b] = (await started(network, 2)) as [Node, Node]
    for (const loss of [1e300, Number.NaN, Number.POSITIVE_INFINITY]) {
      a.swarm.announce({ loss: 2, validationLoss: 3 })
      a.swarm.announce({ step: 9, loss })
      assert.deepEqual(a.swarm.status(), statusOf({ phase: 'joining', step: 9, validationLoss: 3 }))
    }
    await network.clock.advance(3_000)
    assert.equal(b.swarm.members()[0]?.status.step, 9)
  })

  test('another process with the same key is noticed once, own echoes are not', async () => {
    const network = createMemoryNetwork({ seed: 13 })
    const peer = network.join('a')
    let handler: Parameters<MemoryPeer['subscribe']>[1] | undefined
    const tapped: MemoryPeer = Object.create(peer, {
      subscribe: {
        value: (...args: Parameters<MemoryPeer['subscribe']>) => {
          handler = args[1]
          return peer.subscribe(...args)
        },
      },
    })
    let twins = 0
    const a = node(tapped, 5, { onTwin: () => twins++ })
    await a.swarm.start()
    const hear = (sequence: number, incarnation: number): unknown =>
      handler?.validate({
        topic: HEARTBEAT_TOPIC,
        from: 'a',
        data: heartbeatMessage.encode({ sequence, interval: 2_000, status: statusOf({ incarnation }) }),
      }).verdict
    assert.deepEqual([hear(1, 5), hear(900, 4)], ['ignore', 'ignore'])
    assert.equal(twins, 0)
    assert.deepEqual([hear(2, 5), hear(3, 5), hear(1, 6)], ['ignore', 'ignore', 'ignore'])
    assert.equal(twins, 1)
    await network.clock.run(a.swarm.stop())
  })

  test('heartbeats cost each peer no more in a large swarm than in a small one', async () => {
    const rates: number[] = []
    for (const count of [12, 36]) {
      const network = createMemoryNetwork({ seed: 15, gossip: 'mesh' })
      const nodes = await started(network, count)
      await network.clock.advance(20_000)
      for (const { swarm } of nodes) {
        assert.equal(swarm.members().length, count - 1)
      }
      const sent = (): number => nodes.reduce((sum, { peer }) => sum + peer.sent, 0) / count
      const before = sent()
      // News at every second, of every peer, does not change it.
      for (let second = 0; second < 50; second++) {
        for (const { swarm } of nodes) {
          swarm.announce({ step: second }, true)
        }
        await network.clock.advance(1_000)
      }
      rates.push((sent() - before) / 50)
      assert.ok(nodes.every(({ changes }) => changes.every((change) => change.startsWith('joined'))))
    }
    const [few, many] = rates as [number, number]
    // What was saved up for news while nothing was new is spent in these 50 s as well.
    assert.ok(few < 6_000 && many < 10_000, `${few} and ${many} bytes a second`)
  })

  test('a newcomer of a large swarm soon knows everyone, and everyone knows it', async () => {
    const network = createMemoryNetwork({ seed: 16 })
    const nodes = await started(network, 40)
    await network.clock.advance(100_000)
    const late = node(network.join('late'))
    await late.swarm.start()
    await network.clock.advance(6_000)
    assert.equal(late.swarm.members().length, 40)
    assert.ok(nodes.every(({ swarm }) => swarm.members().length === 40))
  })

  test('peers that see few members and peers that see many do not take each other for dead', async () => {
    const network = createMemoryNetwork({ seed: 17, latency: [1, 1] })
    const a = node(network.join('a'))
    const b = network.join('b')
    await a.swarm.start()
    await b.publish(HEARTBEAT_TOPIC, heartbeatMessage.encode({ sequence: 1, interval: 60_000, status: statusOf() }))
    await network.clock.advance(120_000)
    assert.deepEqual(names(a.swarm), ['b'], 'it told that its heartbeats are a minute apart')
    await network.clock.advance(5_000)
    assert.deepEqual(names(a.swarm), [])
    assert.deepEqual(a.changes, ['joined b', 'silent b'])
  })

  test('a change of phase goes out at once, however much was said before', async () => {
    const network = createMemoryNetwork({ seed: 18, latency: [10, 10] })
    const [a, b] = (await started(network, 12)) as [Node, Node]
    await network.clock.advance(30_000)
    for (let step = 0; step < 20; step++) {
      a.swarm.announce({ step }, true)
      await network.clock.advance(200)
    }
    const seen = () => b.swarm.members().find(({ peer }) => peer === 'peer-0')?.status
    assert.ok((seen()?.step ?? 0) < 19, 'the last news waits')
    a.swarm.announce({ phase: 'finished' }, true)
    await network.clock.advance(20)
    assert.deepEqual([seen()?.phase, seen()?.step], ['finished', 19])
  })

  test('stopping is clean: no timers, no listeners, twice allowed', async () => {
    const network = createMemoryNetwork({ seed: 10 })
    const [a, b] = (await started(network, 2)) as [Node, Node]
    await network.clock.advance(3_000)
    await Promise.all([network.clock.run(a.swarm.stop()), a.swarm.stop()])
    await a.swarm.stop()
    await network.clock.advance(200)
    assert.deepEqual(b.changes, ['joined peer-0', 'left peer-0'])
    await b.swarm.stop()
    await network.clock.advance(10_000)
    await assert.rejects(
      network.clock.runUntil(() => false, 1e9),
      /nothing is left/,
    )
    await assert.rejects(a.swarm.start(), (error) => error instanceof StarlingError && error.code === 'already-started')
  })

  test('options that make no sense are refused', () => {
    const network = createMemoryNetwork({ seed: 11 })
    assert.throws(() => createSwarm(network.join(), { run: RUN, incarnation: -1 }))
  })
})
