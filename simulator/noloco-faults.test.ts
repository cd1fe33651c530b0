import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encode } from 'cborg'
import { HEARTBEAT_TOPIC, heartbeatMessage, partnerOf, StarlingError, viewHash } from '../protocols/index.ts'
import { createWorld, disagreements, finish, LIMIT, eventsOf as of, type Process } from './testing/noloco.ts'
import { RUN } from './testing/world.ts'

/** Calls `meddle` after each run of the named task of a process. */
function after(process: Process, task: string, meddle: () => void): void {
  const compute = process.learner.compute.bind(process.learner)
  Object.defineProperty(process.learner, 'compute', {
    value: async (which: Parameters<typeof compute>[0], args: never) => {
      const result = await compute(which, args)
      if (which.name === task) {
        meddle()
      }
      return result
    },
  })
}

describe('rounds without an exchange say why', () => {
  test('a single peer trains on by itself', async () => {
    const world = createWorld({ seed: 1, steps: 40, size: 64, strategy: { innerSteps: 4 } })
    const process = await world.start('a')
    await finish(world)
    assert.equal(of(process, 'exchange').length, 0)
    assert.ok(of(process, 'exchange-skipped').every(({ reason }) => reason === 'no-partner'))
    assert.equal(of(process, 'exchange-skipped').length, 10)
  })

  test('a partner that hangs is said to be waited for, whichever of the two was to speak first', async () => {
    for (const [hung, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const world = createWorld({ seed: 4, steps: 400, size: 64, strategy: { innerSteps: 4 } })
      await world.start('a')
      await world.start('b')
      const process = world.processes.get(other)!
      const { clock } = world.network
      await clock.runUntil(() => of(process, 'exchange').length > 3, LIMIT)
      const before = of(process, 'waiting').length
      const since = clock.now()
      world.network.peer(hung).freeze()
      await clock.runUntil(() => of(process, 'waiting').length > before, LIMIT)
      assert.ok(clock.now() - since < 3_000, `${clock.now() - since} ms`)
      assert.equal(of(process, 'waiting').at(-1)?.peer, hung)
    }
  })

  test('a partner that is too slow is waited for, but not for long', async () => {
    const world = createWorld({ seed: 2, steps: 60, size: 64, strategy: { innerSteps: 4, partnerTimeout: 1 } })
    const fast = await world.start('a', { milliseconds: 50 })
    await world.start('b', { milliseconds: 3_000 })
    const { clock } = world.network
    let since = 0
    let longest = 0
    let waiting = false
    await clock.runUntil(() => {
      const now = fast.phases.length > 0 && fast.phases.at(-1)!.phase === 'proposing' && !fast.finished
      const skipped = of(fast, 'exchange-skipped').length
      if (now && !waiting) {
        since = clock.now()
      }
      if (skipped > 0 && waiting) {
        longest = Math.max(longest, clock.now() - since)
        since = clock.now()
      }
      waiting = now
      return fast.finished
    }, LIMIT)
    const reasons = of(fast, 'exchange-skipped').map(({ reason }) => reason)
    assert.ok(reasons.filter((reason) => reason === 'partner-late').length >= 5, reasons.join())
    assert.ok(fast.finished)
  })

  test('peers that see different members do not exchange with a partner that has another', async () => {
    const world = createWorld({ seed: 3, steps: 160, size: 64, strategy: { innerSteps: 4, partnerTimeout: 3 } })
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) {
      await world.start(name)
    }
    // 'b' does not see 'd'.
    const blind = world.processes.get('b')!
    const members = blind.swarm.members.bind(blind.swarm)
    Object.defineProperty(blind.swarm, 'members', { value: () => members().filter(({ peer }) => peer !== 'd') })
    await finish(world)
    const reasons = [...world.processes.values()].flatMap((process) =>
      of(process, 'exchange-skipped').map(({ reason }) => reason),
    )
    assert.ok(reasons.includes('view-mismatch') || reasons.includes('partner-ahead'), reasons.join())
    for (const process of world.processes.values()) {
      assert.ok(of(process, 'exchange').length >= 3, `${process.name} met nobody`)
    }
    // At the two ends of the run the view is smaller.
    for (const { round, partner } of of(blind, 'exchange').filter(({ round }) => round > 4 && round < 36)) {
      assert.equal(partnerOf(RUN, round, ['a', 'b', 'c'], 'b'), partner)
    }
    assert.deepEqual(disagreements(world), [])
    assert.notEqual(viewHash(names), viewHash(['a', 'b', 'c']))
  })
})

describe('what a peer sends is not trusted', () => {
  for (const [what, meddle] of [
    ['values that are not finite', (outbox: Uint8Array) => outbox.fill(0xff, -4)],
    ['values of another scale', (outbox: Uint8Array) => outbox.set([0, 0, 0x80, 0x7e], outbox.length - 4)],
  ] as const) {
    test(`${what}: refused with a reason, nothing is changed, the others go on`, async () => {
      const world = createWorld({ seed: 4, steps: 60, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
      for (const name of ['a', 'b', 'c']) {
        await world.start(name)
      }
      const liar = world.processes.get('b')!
      after(liar, 'noloco-encode', () => meddle(liar.learner.bytes('outbox')))
      await finish(world)
      for (const name of ['a', 'c']) {
        const process = world.processes.get(name)!
        assert.ok(of(process, 'rejected').length > 0 && of(process, 'rejected').every(({ peer }) => peer === 'b'))
        assert.ok(of(process, 'exchange').every(({ partner }) => partner !== 'b'))
        assert.ok(of(process, 'exchange').length > 0)
        assert.ok(
          world.network.peer(name).penalties.some(({ peer, reason }) => peer === 'b' && reason === 'bad-tensor'),
        )
        assert.ok(process.learner.float32('theta').every((value) => Math.abs(value) < 100))
      }
    })
  }

  test('liars among six: what they send is refused or counts little, and the mean of the others is not theirs to move', async () => {
    /** The worst loss of the honest, with what they did in the rounds with a liar. */
    const attacked = async (...liars: string[]) => {
      const world = createWorld({
        seed: 7,
        steps: 160,
        size: 64,
        strategy: { innerSteps: 4, partnerTimeout: 2 },
        learningRate: (step) => 0.1 * (1 - step / 165),
        liars: Object.fromEntries(liars.map((attack, i) => [`liar-${i}`, attack])),
      })
      const names = Array.from({ length: 6 }, (_, i) => (i < liars.length ? `liar-${i}` : `peer-${i}`))
      for (const name of names) {
        await world.start(name)
      }
      await finish(world)
      assert.deepEqual(disagreements(world), [])
      const honest = [...world.processes.values()].filter(({ name }) => name.startsWith('peer'))
      const withLiar = ({ partner }: { partner?: string }): boolean => partner?.startsWith('liar') === true
      return {
        worst: Math.max(...honest.map((process) => of(process, 'evaluation').at(-1)!.loss)),
        exchanges: honest.flatMap((process) => of(process, 'exchange')),
        liarsShares: honest.flatMap((process) => of(process, 'exchange').filter(withLiar)).map(({ share }) => share!),
        reasons: honest
          .flatMap((process) => of(process, 'exchange-skipped').filter(withLiar))
          .map(({ reason }) => reason),
      }
    }
    const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length
    const peace = await attacked()
    assert.ok(mean(peace.exchanges.map(({ share }) => share!)) > 0.9, 'in peace nearly all counts')
    for (const liars of [['sign-flip'], ['noise'], ['noise', 'noise'], ['inner-product:10', 'stale-replay']]) {
      const { worst, liarsShares, reasons } = await attacked(...liars)
      assert.ok(worst < 3 * peace.worst + 0.01, `${liars}: ${worst}, in peace ${peace.worst}`)
      if (liars.includes('sign-flip')) {
        assert.ok(liarsShares.length === 0 && reasons.includes('too-far'), reasons.join())
      } else if (liars.includes('noise')) {
        assert.ok(liarsShares.length > 0 && mean(liarsShares) < 0.3, `${liars}: ${mean(liarsShares)}`)
      }
    }
  })

  for (const method of ['noloco-propose', 'noloco-commit'])
    test(`garbage as an answer to ${method}: the asker goes on alone and holds it against the peer`, async () => {
      const world = createWorld({ seed: 5, steps: 60, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
      await world.start('a')
      await world.start('b')
      await world.network.clock.advance(1_000)
      world.network.replaceAnswerer('b', method, () => Uint8Array.of(1, 2, 3))
      await finish(world)
      const process = world.processes.get('a')!
      assert.equal(of(process, 'exchange').length, 0)
      assert.ok(world.network.peer('a').penalties.some(({ peer, reason }) => peer === 'b' && reason === 'bad-message'))
    })

  for (const [what, answer] of [
    ['that it knows nothing, for ever', () => encode({ outcome: 'unknown' })],
    ['that it has not decided, for ever', () => encode({ outcome: 'pending' })],
    // The codes of failures are chosen by who fails; this one is ours for a broken disk.
    ...['record-failed', 'in-doubt', 'aborted'].map((code) => [
      `with the failure '${code}', for ever`,
      () => {
        throw new StarlingError(code, 'no')
      },
    ]),
  ] as [string, () => Uint8Array][])
    test(`a member that answers the question for the commit ${what}: no round stands still, the run ends`, async () => {
      const world = createWorld({ seed: 12, steps: 20, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
      const process = await world.start('a')
      await world.start('b')
      await world.network.clock.advance(1_000)
      for (const method of ['noloco-commit', 'noloco-ready', 'noloco-outcome'])
        world.network.replaceAnswerer('b', method, answer)
      await finish(world)
      assert.equal(of(process, 'exchange').length, 0)
      assert.ok(of(process, 'exchange-skipped').length > 0)
    })

  test('a member that claims to be rounds away takes nobody there, and keeps nobody from joining', async () => {
    const world = createWorld({ seed: 13, steps: 200, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
    for (const name of ['a', 'b']) {
      await world.start(name)
    }
    const { clock } = world.network
    const liar = world.network.join('0-liar')
    const far = 2 ** 48
    const status = { incarnation: 1, phase: 'training', step: 1, round: far, bytesSent: 0, bytesReceived: 0 } as const
    liar.answer('noloco-propose', () => encode({ status: 'ahead', round: far }))
    liar.answer('noloco-ready', () => encode({ status: 'ahead', round: far }))
    const call = { id: 'ab'.repeat(16), round: far, step: 1, view: 'cd'.repeat(8), root: 'ef'.repeat(32), size: 1 }
    let lies = 0
    const lie = (): void => {
      lies++
      void liar.publish(HEARTBEAT_TOPIC, heartbeatMessage.encode({ sequence: lies, interval: 2_000, status }))
      for (const peer of ['a', 'b']) {
        liar.ask(peer, 'noloco-propose', encode(call)).catch(() => undefined)
        liar.ask(peer, 'noloco-ready', encode({ round: far })).catch(() => undefined)
      }
      clock.schedule(1_000, lie)
    }
    lie()
    await clock.advance(10_000)
    const late = await world.start('late')
    await finish(world)
    assert.ok(of(late, 'joined')[0]?.donor !== undefined)
    for (const process of world.processes.values()) {
      assert.ok(of(process, 'exchange').length > 3, `${process.name} met nobody`)
      assert.ok(Number(process.strategy.progress().round) < 10_000)
    }
    const waits = of(late, 'waiting').map(({ for: what, peer }) => `${what} ${peer}`)
    assert.ok(waits.filter((wait) => wait.startsWith('a ')).length <= 4, waits.join())
  })

  test('a joiner that finds nobody to give it a replica says so once', async () => {
    const world = createWorld({ seed: 14, steps: 400, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
    await world.start('a')
    const { clock } = world.network
    await clock.advance(10_000)
    world.network.replaceAnswerer('a', 'replica', () => {
      throw new StarlingError('not-ready', 'no')
    })
    const late = await world.start('late')
    await clock.advance(60_000)
    assert.deepEqual(
      of(late, 'waiting').map(({ for: what, peer }) => [what, peer]),
      [
        ['a replica', 'a'],
        ['a member with a replica', undefined],
      ],
    )
  })

  test('garbage as questions is refused and answered with an error', async () => {
    const world = createWorld({ seed: 6, steps: 200, size: 64, strategy: { innerSteps: 4 } })
    await world.start('a')
    const stranger = world.network.join('stranger')
    const { clock } = world.network
    await clock.advance(5_000)
    for (const method of ['noloco-propose', 'noloco-ready', 'noloco-commit', 'noloco-outcome']) {
      await assert.rejects(clock.run(stranger.ask('a', method, Uint8Array.of(0xff, 0))), { code: 'bad-message' })
    }
    assert.equal(world.network.peer('a').penalties.filter(({ peer }) => peer === 'stranger').length, 4)
  })
})

describe('a late joiner', () => {
  test('goes to another donor when the first one vanishes, and gets the replica to the bit', async () => {
    const asked: string[] = []
    const world = createWorld({
      seed: 7,
      steps: 400,
      size: 2048,
      strategy: { innerSteps: 4, partnerTimeout: 2 },
      fate(from, to, method) {
        if (from === 'late' && method === 'blob-chunk') {
          asked.push(to)
          return to === asked[0] ? 'question-lost' : 'delivered'
        }
        return 'delivered'
      },
    })
    for (const name of ['a', 'b', 'c']) {
      await world.start(name)
    }
    const { clock } = world.network
    await clock.advance(10_000)
    const late = await world.start('late')
    let adopted: Float32Array | undefined
    after(late, 'noloco-adopt', () => {
      adopted = late.learner.float32('theta').slice()
    })
    await clock.runUntil(() => of(late, 'joined').length > 0, LIMIT)
    const { donor, step, round } = of(late, 'joined')[0]!
    assert.ok(donor !== undefined && donor !== asked[0])
    const given = world.processes.get(donor)!
    assert.deepEqual(adopted, given.learner.float32('snapshot'))
    assert.ok(step > 0 && step % 4 === 0 && round > 0)
    assert.equal(late.learner.step(), step)
    await finish(world)
    assert.equal(late.learner.step(), 400)
    assert.ok(of(late, 'exchange').length > 5)
  })

  test('that finds only peers that have not begun starts from the common parameters', async () => {
    const world = createWorld({ seed: 8, steps: 40, size: 64, strategy: { innerSteps: 4 } })
    const started = await Promise.all(['a', 'b', 'c'].map((name) => world.start(name)))
    await finish(world)
    for (const process of started) {
      assert.equal(of(process, 'joined')[0]?.donor, undefined)
      assert.equal(of(process, 'joined').length, 1)
    }
  })

  test('to a run that is over takes a finished replica and is finished too', async () => {
    const world = createWorld({ seed: 9, steps: 40, size: 64, strategy: { innerSteps: 4 } })
    await world.start('a')
    await finish(world)
    const late = await world.start('late')
    await finish(world)
    assert.equal(of(late, 'joined')[0]?.donor, 'a')
    assert.equal(late.learner.step(), 40)
    assert.deepEqual(late.learner.float32('theta'), world.processes.get('a')!.learner.float32('phi'))
  })

  test('does not take a replica that is not finite', async () => {
    const world = createWorld({ seed: 10, steps: 400, size: 64, strategy: { innerSteps: 4, partnerTimeout: 2 } })
    for (const name of ['a', 'b']) {
      await world.start(name)
    }
    const liar = world.processes.get('a')!
    after(liar, 'noloco-snapshot', () => liar.learner.float32('snapshot').fill(Number.NaN))
    const { clock } = world.network
    await clock.advance(10_000)
    const late = await world.start('late')
    await clock.runUntil(() => of(late, 'joined').length > 0, LIMIT)
    assert.equal(of(late, 'joined')[0]!.donor, 'b')
  })
})
