import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { codecs, type Learner, type PeerName, sha256Hex } from '../protocols/index.ts'
import { createWorld, eventsOf, finish, type Process, spread, type World, type WorldOptions } from './testing/gossip.ts'

const DIFFERENCE = 'gossip-difference'
const PUBLIC = 'gossip-public'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `peer-${i}`)

async function startAll(world: World, count: number, milliseconds = (_: number): number => 250): Promise<Process[]> {
  const processes: Process[] = []
  for (const [i, name] of names(count).entries()) {
    processes.push(await world.start(name, { milliseconds: milliseconds(i) }))
  }
  return processes
}

const finalLoss = (process: Process): number => eventsOf(process, 'evaluation').at(-1)!.loss
const total = (process: Process, key: 'groups' | 'fragments' | 'bytesSent' | 'bytesReceived'): number =>
  eventsOf(process, 'mixed').reduce((sum, event) => sum + event[key], 0)

/** Turns to zero, so that what is left at the end is what peers disagree about. */
const falling = { learningRate: (step: number) => 0.1 * Math.max(0.02, 1 - step / 200), noise: 1 }
const still = { learningRate: () => 0 }

/** Sets the peers apart. */
function scatter(processes: readonly Process[]): void {
  for (const [i, { learner }] of processes.entries()) {
    const theta = learner.float32('theta')
    for (const [k, value] of theta.entries()) {
      theta[k] = value + 0.3 * Math.sin(7 * i + k)
    }
  }
}

/**
 * Looks at every replica that is stepped towards: it must be, to the bit, what its author's public replica was at some time. Counts how many were, by
 * how many differences they were behind.
 */
function witness() {
  const published = new Map<string, string[]>()
  const behind: number[] = []
  const wrong: string[] = []
  const part = (learner: Learner, vector: string, { start, end }: { start: number; end: number }): string =>
    sha256Hex(learner.bytes(vector).subarray(4 * start, 4 * end))
  type Arguments = {
    fragment: { index: number; start: number; end: number }
    replicas?: { peer: PeerName; slot: number }[]
  }
  const publish = (name: PeerName, learner: Learner, fragments: readonly Arguments['fragment'][]): void => {
    for (const fragment of fragments) {
      const key = `${name} ${fragment.index}`
      published.set(key, [...(published.get(key) ?? []), part(learner, 'gossip-public', fragment)])
    }
  }
  const meddle = (name: PeerName, learner: Learner): Learner => {
    const compute: Learner['compute'] = async (task, args, signal) => {
      const { fragment, replicas = [] } = (args ?? {}) as Arguments
      for (const { peer, slot } of task.name === 'gossip-step' ? replicas : []) {
        const all = published.get(`${peer} ${fragment.index}`) ?? []
        const at = all.lastIndexOf(part(learner, `gossip-replica-${slot}`, fragment))
        if (at < 0) {
          wrong.push(`${name} of ${peer}`)
        } else {
          behind.push(all.length - 1 - at)
        }
      }
      const result = await learner.compute(task, args, signal)
      if (task.name === 'gossip-send') {
        publish(name, learner, [fragment])
      } else if (task.name === 'gossip-begin') {
        publish(name, learner, FOUR)
      }
      return result
    }
    const initial: Learner['initial'] = async (vector, signal) => {
      await learner.initial(vector, signal)
      if (vector === 'gossip-public') {
        publish(name, learner, FOUR)
      }
    }
    return Object.create(learner, {
      compute: { value: compute, configurable: true },
      initial: { value: initial, configurable: true },
    }) as Learner
  }
  return { meddle, behind, wrong }
}

/** Fragments of 1,024 values in four. */
const FOUR = [0, 1, 2, 3].map((index) => ({ index, start: 256 * index, end: 256 * (index + 1) }))

describe('models gossiped through replicas', () => {
  test('whatever the coarse code, peers that began apart come together', async () => {
    for (const [codec, steps, share] of [
      ['topk', 300, 0.75],
      ['sign', 80, 0.3],
      ['int4', 80, 0.1],
      ['int8', 80, 0.1],
    ] as const) {
      const world = createWorld({
        seed: 2,
        steps,
        evaluateEvery: steps,
        strategy: { codec, memory: 'replicas', interval: 1 },
        learner: still,
      })
      const processes = await startAll(world, 5)
      scatter(processes)
      const before = spread(processes)
      await finish(world)
      assert.ok(spread(processes) < share * before, `${codec}: from ${before} to ${spread(processes)}`)
    }
  })

  test('six peers end nearer to the minimum and to each other than alone, and the bytes are those of the formula', async () => {
    const options = { seed: 1, size: 1024, steps: 200, learner: falling, strategy: { codec: 'int4', neighbours: 4 } }
    const world = createWorld(options)
    const processes = await startAll(world, 6)
    await finish(world)
    const alone = createWorld(options)
    const hermits = await startAll(alone, 6)
    alone.network.partition()
    await finish(alone)
    const followed = total(processes[0]!, 'fragments') / total(processes[0]!, 'groups')
    assert.ok(followed > 2 && followed <= 4, `${followed} neighbours`)
    for (const [i, process] of processes.entries()) {
      assert.ok(finalLoss(process) < finalLoss(hermits[i]!) / 1.5, `${finalLoss(process)}, ${finalLoss(hermits[i]!)}`)
      assert.deepEqual(eventsOf(process, 'rejected'), [])
      const message = codecs.int4.bytes(1024)
      const sent = total(process, 'bytesSent') / 40 / message
      assert.ok(sent > 3 && sent < 4 * 1.25, `${sent} messages a turn`)
      // Everybody began at the common start: no replica was ever fetched whole.
      assert.equal(total(process, 'bytesReceived') % message, 0)
    }
    assert.ok(spread(processes) < spread(hermits) / 1.5, `${spread(processes)}, alone ${spread(hermits)}`)
  })

  test("a replica is its author's own to the bit whenever it counts: loss, duplicates, reordering, kills, joiners", async () => {
    const { meddle, behind, wrong } = witness()
    let lost = 0
    const steps = 420
    const world = createWorld({
      seed: 3,
      size: 1024,
      steps,
      evaluateEvery: steps,
      strategy: { codec: 'topk', fragments: 4, interval: 1, neighbours: 4 },
      // Ways of very different length: differences overtake each other.
      network: { latency: [2, 150] },
      fate: (_from, _to, method) => (method === DIFFERENCE && ++lost % 50 === 0 ? 'question-lost' : 'delivered'),
      meddle,
    })
    const { clock } = world.network
    const processes = await startAll(world, 7, (i) => 90 + 10 * i)
    for (const name of names(7)) {
      const honest = world.network.answererOf(name, DIFFERENCE)
      world.network.replaceAnswerer(name, DIFFERENCE, async (from, question, signal) => {
        const answer = await honest(from, question.slice(), signal)
        await Promise.resolve(honest(from, question.slice(), signal)).catch(() => undefined)
        return answer
      })
    }
    await clock.advance(10_000)
    const victim = processes[2]!
    victim.checkpoint()
    await clock.advance(3_000)
    victim.kill()
    await clock.advance(3_000)
    const late = await world.start('late', { milliseconds: 100 })
    await clock.advance(4_000)
    const again = await world.start('peer-2', { milliseconds: 100 })
    await finish(world)
    assert.deepEqual(wrong, [])
    assert.ok(behind.length > 600, `${behind.length} replicas were used`)
    assert.ok(behind.filter((differences) => differences === 0).length > behind.length / 5, 'many were the newest')
    assert.ok(Math.max(...behind) < 40, `one was ${Math.max(...behind)} behind`)
    for (const process of [...processes.filter((each) => each !== victim), late, again]) {
      assert.ok(total(process, 'fragments') > 5, `${process.name}: ${total(process, 'fragments')}`)
      assert.deepEqual(eventsOf(process, 'rejected'), [], 'honest peers are never to blame')
    }
    // What was lost was fetched whole: so many bytes are no differences.
    assert.ok(processes.some((process) => total(process, 'bytesReceived') > 20 * 1024))
  })

  test('a swarm larger than the neighbourhood agrees as well, and memory is that of the neighbours', async () => {
    const world = createWorld({
      seed: 4,
      steps: 200,
      strategy: { codec: 'int4', neighbours: 2, interval: 1 },
      learner: still,
    })
    const processes = await startAll(world, 10, () => 100)
    scatter(processes)
    const before = spread(processes)
    await world.network.clock.advance(6_000)
    world.processes.get('peer-7')!.kill()
    await finish(world)
    const rest = processes.filter(({ name }) => name !== 'peer-7')
    assert.ok(spread(rest) < before / 2, `from ${before} to ${spread(rest)}`)
    assert.throws(() => processes[0]!.learner.float32('gossip-replica-2'))
  })

  test('a stop is clean at any time, and the same seed gives the same swarm, to the bit', async () => {
    const run = async (): Promise<Uint8Array[]> => {
      const world = createWorld({ seed: 7, steps: 60, strategy: { codec: 'sign', interval: 2 } })
      await startAll(world, 4)
      const { clock } = world.network
      for (const wait of [3_310, 4_730]) {
        await clock.advance(wait)
        const process = world.processes.get('peer-1')!
        await clock.run(process.stop(), 60_000)
        process.checkpoint()
        await world.start('peer-1')
      }
      await finish(world)
      return [...world.processes.values()].map(({ learner }) => learner.bytes('theta').slice())
    }
    assert.deepEqual(await run(), await run())
  })
})

describe('liars among neighbours', () => {
  const worst = (processes: readonly Process[]): number => Math.max(...processes.map(finalLoss))

  /** Five honest peers and one that is not; all know each other. */
  async function attacked(more: Partial<WorldOptions>, strategy: Record<string, unknown> = {}): Promise<Process[]> {
    const world = createWorld({
      seed: 11,
      size: 256,
      steps: 160,
      evaluateEvery: 160,
      strategy: { codec: 'int4', neighbours: 6, interval: 2, ...strategy },
      learner: falling,
      ...more,
    })
    const processes = await startAll(world, 6)
    await finish(world)
    return processes.slice(0, 5)
  }

  test('noise ruins the mean; the nearest and the clipped bound it', async () => {
    const liars = { 'peer-5': 'noise:0.5' }
    const mean = worst(await attacked({ liars }, { rule: 'mean' }))
    for (const [rule, share] of [
      ['nearest', 0.7],
      ['clipped', 0.7],
    ] as const) {
      const found = worst(await attacked({ liars }, { rule }))
      assert.ok(found < share * mean, `${rule}: ${found}, mean ${mean}`)
    }
  })

  test('what the guards refuse costs nothing under any rule, and its author is named', async () => {
    const peace = worst(await attacked({}, { rule: 'mean' }))
    for (const attack of ['nan', 'huge-norm']) {
      const honest = await attacked({ liars: { 'peer-5': attack } }, { rule: 'mean' })
      assert.ok(worst(honest) < 2 * peace + 0.01, `${attack}: ${worst(honest)}, without ${peace}`)
      for (const process of honest) {
        const rejected = eventsOf(process, 'rejected')
        assert.ok(rejected.length > 0 && rejected.every(({ peer }) => peer === 'peer-5'), JSON.stringify(rejected[0]))
      }
    }
  })
})

describe('what a neighbour may send instead of a difference', () => {
  async function duel(): Promise<{ world: World; victim: Process; liar: Process }> {
    const world = createWorld({ seed: 12, steps: 80, strategy: { codec: 'topk', interval: 1 } })
    const processes = await startAll(world, 4)
    await world.network.clock.advance(3_000)
    return { world, victim: processes[0]!, liar: processes[3]! }
  }

  test('bytes that are no difference, or of another size, cost points before anything is kept of them', async () => {
    const { world, victim } = await duel()
    const { clock } = world.network
    const { differenceMessage } = await import('../protocols/gossip/replicas/messages.ts')
    const head = { turn: 20, step: 20, generation: 1, sequence: 12, energy: 1 }
    for (const [bytes, reason] of [
      [Uint8Array.of(1, 2, 3), 'bad-fragment'],
      [differenceMessage.encode({ ...head, bytes: new Uint8Array(3) }), 'fragment-size'],
      [differenceMessage.encode({ ...head, step: 81, bytes: new Uint8Array(codecs.topk.bytes(512)) }), 'beyond-steps'],
    ] as const) {
      const asked = world.network.peer('peer-3').ask(victim.name, DIFFERENCE, bytes)
      await clock.run(assert.rejects(asked, { code: 'bad-message' }), 5_000)
      assert.ok(
        world.network.peer(victim.name).penalties.some((penalty) => penalty.reason === reason),
        reason,
      )
    }
    await finish(world)
    assert.deepEqual(
      eventsOf(victim, 'rejected').map(({ peer }) => peer),
      ['peer-3', 'peer-3', 'peer-3'],
    )
  })

  test('a malformed code is proven; a sum of squares that is not that of the replica has it fetched', async () => {
    const { world, victim, liar } = await duel()
    const { clock } = world.network
    const honest = liar.learner.compute.bind(liar.learner)
    let spoil: 'code' | 'sum' | undefined = 'code'
    Object.defineProperty(liar.learner, 'compute', {
      value: async (...[task, args, signal]: Parameters<typeof honest>) => {
        const result = (await honest(task, args, signal)) as { energy: number }
        if (task.name === 'gossip-send' && spoil === 'code') {
          // Every position the first: repeated ones are no code.
          liar.learner.bytes('gossip-outbox').fill(0, 16)
        }
        return task.name === 'gossip-send' && spoil === 'sum' ? { ...result, energy: result.energy + 1 } : result
      },
    })
    await clock.advance(2_000)
    const { penalties } = world.network.peer(victim.name)
    assert.ok(
      penalties.length > 0 && penalties.every(({ peer, reason }) => peer === liar.name && reason === 'bad-tensor'),
    )
    spoil = 'sum'
    const before = penalties.length
    await clock.advance(2_000)
    spoil = undefined
    await finish(world)
    assert.ok(penalties.length <= before + 1, 'a sum is no proof')
    assert.ok(eventsOf(victim, 'rejected').some(({ reason }) => /differs/.test(reason)))
    assert.ok(eventsOf(victim, 'rejected').every(({ peer }) => peer === liar.name))
  })

  test('a replica that never comes, is not what its hash says, or is not finite holds up nobody', async () => {
    for (const [method, evil, reason] of [
      ['blob-hashes', () => new Promise<never>(() => {}), /could not be had: no-holder|pull-timeout/],
      [PUBLIC, () => new Promise<never>(() => {}), /could not be had: ask-timeout/],
      [PUBLIC, () => Uint8Array.of(1), /could not be had: bad-message/],
      ['blob-chunk', undefined, /could not be had: no-holder/],
      ['nan', undefined, /could not be had: bad-tensor/],
    ] as const) {
      let losing = false
      const world = createWorld({
        seed: 13,
        steps: 120,
        strategy: { codec: 'topk', interval: 1 },
        // One difference is lost, so that the liar's replica is fetched.
        fate: (from, _to, asked) =>
          losing && from === 'peer-3' && asked === DIFFERENCE ? 'question-lost' : 'delivered',
      })
      const processes = await startAll(world, 4)
      const { clock } = world.network
      const liar = processes[3]!
      await clock.advance(3_000)
      if (evil !== undefined) {
        world.network.replaceAnswerer('peer-3', method, evil)
      } else if (method === 'nan') {
        const honest = liar.learner.compute.bind(liar.learner)
        Object.defineProperty(liar.learner, 'compute', {
          value: async (...args: Parameters<typeof honest>) => {
            const result = await honest(...args)
            if (args[0].name === 'gossip-copy') liar.learner.bytes('gossip-copies').fill(0xff)
            return result
          },
        })
      } else {
        const honest = world.network.answererOf('peer-3', method)
        world.network.replaceAnswerer('peer-3', method, async (...args) => (await honest(...args)).map((x) => x ^ 1))
      }
      losing = true
      await clock.advance(1_000)
      losing = false
      await finish(world)
      for (const process of processes.slice(0, 3)) {
        const rejected = eventsOf(process, 'rejected')
        assert.ok(
          rejected.some((event) => event.peer === 'peer-3' && reason.test(event.reason)),
          `${method}: ${JSON.stringify(rejected)}`,
        )
        assert.ok(rejected.every(({ peer }) => peer === 'peer-3'))
        assert.ok(total(process, 'fragments') > 100, `${method}: ${total(process, 'fragments')}`)
      }
    }
  })
})
