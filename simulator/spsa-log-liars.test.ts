import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Answerer,
  type EquivocationProof,
  news,
  originOf,
  proofAnswer,
  type Segment,
  type SegmentEntry,
  segmentsAnswer,
  syncQuestion,
  versionAnswer,
} from '../protocols/index.ts'
import {
  type Contributor,
  createLogWorld,
  disagreements,
  history,
  type Liar,
  type LogWorld,
} from './testing/spsa-log.ts'
import { eventsOf, LIMIT, RUN } from './testing/world.ts'

const HONEST = ['a', 'b', 'c'] as const
const STEPS = 40

/** Three honest peers and the liar, who knows nothing yet and answers nothing. */
async function createScene(
  seed: number,
  options: Partial<Parameters<typeof createLogWorld>[0]> = {},
): Promise<{ world: LogWorld; liar: Liar }> {
  const world = createLogWorld({ seed, steps: STEPS, ...options })
  for (const name of HONEST) {
    await world.start(name)
  }
  return { world, liar: await world.liar('liar') }
}

/** Lets the honest peers end, checks that they agree and blame nobody but the liar, and gives back whom they blame for what. */
async function finish(world: LogWorld, until: () => boolean = () => true): Promise<string[]> {
  const all = [...world.processes.values()]
  const broken: unknown[] = []
  for (const { done } of all) {
    done.catch((error: unknown) => broken.push(error))
  }
  const whole = ({ strategy: { log } }: Contributor): boolean =>
    HONEST.every((name) => log.bytesOf(name).length === STEPS)
  const agree = ({ strategy: { sync } }: Contributor): boolean =>
    all.every(
      (other) => other.strategy === undefined || sync.agreeing().includes(other.name) || other.strategy.sync === sync,
    )
  await world.network.clock.runUntil(
    () => broken.length > 0 || (all.every(whole) && until() && all.every(agree)),
    LIMIT,
  )
  assert.deepEqual(broken, [])
  assert.deepEqual(disagreements(all), [])
  const penalties = all.flatMap(({ name }) => world.network.peer(name).penalties)
  assert.deepEqual(
    penalties.filter(({ peer }) => peer !== 'liar'),
    [],
    'the honest are not blamed',
  )
  await world.network.clock.run(Promise.all(all.map((process) => process.stop())))
  return [...new Set(penalties.map(({ reason }) => reason))].sort()
}

const reasons = (world: LogWorld): string[] => [
  ...new Set(
    [...world.processes.values()].flatMap((process) =>
      eventsOf(process, 'rejected')
        .filter(({ peer }) => peer === 'liar')
        .map(({ reason }) => reason.replace(/:.*/, '')),
    ),
  ),
]

const excluders = (world: LogWorld): number =>
  [...world.processes.values()].filter(({ strategy }) => strategy.log.excluded().has('liar')).length

const bytes = (count: number, byte: number): number[] => new Array<number>(count).fill(byte)

const TAG = new Uint8Array(8)

/** Answers as a peer would that holds these histories and proofs, true or not. */
function serving(given: { page?: [string, number][]; histories?: Segment[]; proof?: EquivocationProof }): Answerer {
  const { histories = [], proof } = given
  const claims = given.page ?? histories.map(({ author, bytes }): [string, number] => [author, bytes.length])
  return (_from, question) => {
    const asked = syncQuestion.decode(question)
    if (asked.ask === 'version') {
      return versionAnswer.encode({
        equal: false,
        digest: new Uint8Array(32),
        page: claims.map(([author, count]) => [author, count, TAG]),
        excluded: proof === undefined ? [] : [proof.author],
        more: false,
      })
    }
    if (asked.ask === 'proof') {
      return proofAnswer.encode({ proof: proof! })
    }
    const segments = asked.wanted.flatMap(([author, from]) =>
      histories
        .filter((held) => held.author === author)
        .map((held): SegmentEntry => [author, from, held.bytes.slice(from - 1), held.signature]),
    )
    return segmentsAnswer.encode({ segments })
  }
}

describe('an author that signs two histories', () => {
  test('shown to all at once, is excluded by all', async () => {
    const { world, liar } = await createScene(1)
    await liar.publish(await liar.segment([1, 2, 3, 4]))
    await liar.publish(await liar.segment([1, 2, 9]))
    await finish(world, () => excluders(world) === 3)
    const [event] = eventsOf(world.processes.get('a')!, 'excluded')
    assert.deepEqual([event?.peer, event?.step, event?.own], ['liar', 3, false])
  })

  test('shown one to each half of a torn network, is excluded by all when it heals, wherever the histories part', async () => {
    for (const [seed, common] of [0, 5, 12].entries()) {
      const { world, liar } = await createScene(10 + seed)
      const { network } = world
      const say = async (end: number[], side: string[]): Promise<void> => {
        network.partition(
          ['liar', ...side],
          HONEST.filter((name) => !side.includes(name)),
        )
        await liar.publish(await liar.segment([...bytes(common, 1), ...end.slice(0, 3)]))
        await network.clock.advance(400)
        // A continuation that does not join what the other side holds.
        await liar.publish(await liar.segment([...bytes(common, 1), ...end], common + 4))
        await network.clock.advance(400)
      }
      await say([2, 2, 2, 2, 2, 2], ['a'])
      await say([3, 3, 3, 3, 3, 3, 3, 3, 3], ['b', 'c'])
      network.partition(['liar'], [...HONEST])
      await finish(world, () => excluders(world) === 3)
    }
  })

  test('whose two histories are too long for gossip, is excluded by all', async () => {
    const { world, liar } = await createScene(20, { steps: 20_000, goal: STEPS })
    const one = await liar.segment(bytes(17_000, 1))
    const other = await liar.segment(bytes(17_000, 2))
    liar.answer((from, ...rest) => serving({ histories: [from === 'a' ? one : other] })(from, ...rest))
    await finish(world, () => excluders(world) === 3)
    const proof = world.processes.get('b')!.strategy.log.excluded().get('liar')!
    assert.throws(() => news.encode({ kind: 'proof', proof }))
  })

  test('continues by gossip a history that nobody holds: asked for all of it, it shows its two faces or is blamed', async () => {
    const { world, liar } = await createScene(21)
    await liar.publish(await liar.segment(bytes(8, 1)))
    await world.network.clock.advance(500)
    const other = await liar.segment(bytes(12, 2))
    liar.answer(serving({ histories: [other] }))
    await liar.publish({ ...other, from: 9, bytes: other.bytes.slice(8) })
    await finish(world, () => excluders(world) === 3)
  })

  test('two processes of one key are an accident that both are told of', async () => {
    const { world, liar } = await createScene(22, { steps: 2 * STEPS, goal: STEPS })
    const { network, processes } = world
    await network.clock.runUntil(() => processes.get('b')!.strategy.log.bytesOf('a').length >= 8)
    // The liar's socket, the key of a: another process of a, which started from nothing.
    liar.answer(serving({ histories: [await history(network.peer('a'), 'a', bytes(STEPS + 8, 101))] }))
    const all = [...processes.values()]
    await network.clock.runUntil(() => all.every(({ strategy }) => strategy.log.excluded().has('a')), LIMIT)
    const [event] = eventsOf(processes.get('a')!, 'excluded')
    assert.ok(event?.own === true && /another process uses the same key/.test(event.reason))
    await network.clock.run(Promise.all(all.map((process) => process.stop())))
  })
})

describe('a peer that publishes', () => {
  const cases: [string, (liar: Liar) => Promise<unknown>, string[], string[]][] = [
    [
      'a forged signature is blamed',
      async (liar) => liar.publish({ ...(await liar.segment([1, 2])), signature: new Uint8Array(64) }),
      ['bad-signature'],
      ['bad-signature'],
    ],
    [
      'more than the run has steps is blamed',
      async (liar) => liar.publish(await liar.segment(bytes(STEPS + 1, 1))),
      ['beyond-steps'],
      [],
    ],
    ['a byte that is none is blamed', async (liar) => liar.publish(await liar.segment([1, 0x80])), ['bad-byte'], []],
    ['garbage is blamed', (liar) => liar.shout(Uint8Array.of(1, 2, 3)), ['bad-contributions'], []],
    [
      'a proof that proves nothing is blamed',
      async (liar) => {
        const branch = await liar.segment([1, 2])
        const branches: EquivocationProof['branches'] = [branch, { ...branch, bytes: Uint8Array.of(2) }].map(
          (each) => ({ bytes: each.bytes, signature: each.signature }),
        ) as [Segment, Segment]
        const proof = { author: 'a', step: 1, before: new Uint8Array(32), branches }
        return liar.shout(news.encode({ kind: 'proof', proof }))
      },
      ['false-proof'],
      ['false-proof'],
    ],
    [
      'contributions that begin late, and does not answer, is no offence',
      async (liar) => liar.publish(await liar.segment(bytes(20, 1), 15)),
      [],
      [],
    ],
    ['a later kind of news is not held against it', (liar) => liar.shout(Uint8Array.of(0xa0)), [], []],
  ]
  for (const [index, [name, say, penalties, expected]] of cases.entries()) {
    test(name, async () => {
      const { world, liar } = await createScene(30 + index)
      await say(liar)
      await world.network.clock.advance(3000)
      assert.deepEqual(await finish(world), penalties)
      assert.deepEqual(reasons(world), expected)
      assert.equal(excluders(world), 0)
    })
  }

  test('faster than it may is not listened to beyond its rate; what it said is fetched, once, and no more than the run has steps', async () => {
    const { world, liar } = await createScene(40, { maxRate: 4 })
    const whole = await liar.segment(bytes(STEPS, 1))
    liar.answer(serving({ histories: [whole] }))
    for (let step = 1; step <= STEPS; step++) {
      await liar.publish(await liar.segment(bytes(step, 1), step))
    }
    await world.network.clock.advance(100)
    for (const { strategy } of world.processes.values()) {
      assert.ok(strategy.log.bytesOf('liar').length <= 16)
    }
    const held = (): boolean =>
      [...world.processes.values()].every(({ strategy }) => strategy.log.bytesOf('liar').length === STEPS)
    assert.deepEqual(await finish(world, held), [])
  })
})

test('a rate below a batch a second still lets a batch through', async () => {
  const { world, liar } = await createScene(41, { maxRate: 1, batch: STEPS })
  await liar.publish(await liar.segment(bytes(STEPS, 1)))
  await world.network.clock.advance(100)
  for (const { strategy } of world.processes.values()) {
    assert.equal(strategy.log.bytesOf('liar').length, STEPS)
  }
  await finish(world)
})

describe('a peer that answers', () => {
  test('with claims that it does not serve is left, and blamed the third time', async () => {
    const { world, liar } = await createScene(50)
    liar.answer(serving({ page: [['ghost', 10]] }))
    const blamed = (): boolean => HONEST.some((name) => world.network.peer(name).penalties.length > 0)
    assert.deepEqual(await finish(world, blamed), ['unserved-claims'])
    const claims = [...world.processes.values()].flatMap((process) => eventsOf(process, 'rejected'))
    assert.ok(claims.length >= 3)
  })

  test('with a forged tail, for a stranger or for a peer that is known, is blamed', async () => {
    const { world, liar } = await createScene(51)
    const forged = await history(liar.peer, 'a', bytes(STEPS, 5))
    liar.answer(serving({ histories: [forged, { ...forged, author: 'ghost' }] }))
    const blamed = (): boolean => HONEST.every((name) => world.network.peer(name).penalties.length > 0)
    assert.deepEqual(await finish(world, blamed), ['bad-signature'])
    assert.equal(world.processes.get('a')!.strategy.log.version().has('ghost'), false)
  })

  test('with a proof that proves nothing is blamed, and the accused stays', async () => {
    for (const [seed, accused] of (['a', 'ghost'] as const).entries()) {
      const { world, liar } = await createScene(52 + seed)
      const branch = async (byte: number): Promise<EquivocationProof['branches'][0]> => {
        const { bytes, signature } = await history(liar.peer, accused, [byte])
        return { bytes, signature }
      }
      // Two histories as the accused would have signed them, under the liar's signature.
      const origin = originOf(RUN, accused)
      const proof = { author: accused, step: 1, before: origin, branches: [await branch(1), await branch(2)] as const }
      liar.answer(serving({ proof }))
      const blamed = (): boolean => HONEST.every((name) => world.network.peer(name).penalties.length > 0)
      assert.deepEqual(await finish(world, blamed), ['false-proof'])
      assert.deepEqual(reasons(world), ['false-proof'])
      for (const { strategy } of world.processes.values()) {
        assert.deepEqual([...strategy.log.excluded()], [])
      }
    }
  })

  test('with the proof of another author than the one asked for is blamed', async () => {
    const { world, liar } = await createScene(54)
    const branch = async (byte: number): Promise<EquivocationProof['branches'][0]> => {
      const { bytes, signature } = await liar.segment([byte])
      return { bytes, signature }
    }
    const branches = [await branch(1), await branch(2)] as const
    const proof: EquivocationProof = { author: 'liar', step: 1, before: originOf(RUN, 'liar'), branches }
    const answer = serving({ proof })
    // It says that it excludes a, and shows its own offence instead.
    liar.answer((from, question, signal) =>
      syncQuestion.decode(question).ask === 'version'
        ? serving({ proof: { ...proof, author: 'a' } })(from, question, signal)
        : answer(from, question, signal),
    )
    const blamed = (): boolean => HONEST.every((name) => world.network.peer(name).penalties.length > 0)
    assert.deepEqual(await finish(world, blamed), ['false-proof'])
    assert.equal(excluders(world), 0)
  })

  test('with more authors than the run may have, page after page, is left and blamed', async () => {
    const { world, liar } = await createScene(55, { maxAuthors: HONEST.length })
    const all = [...world.processes.values()]
    await world.network.clock.runUntil(() => all.every(({ strategy }) => strategy.log.version().size === HONEST.length))
    let asked = 1000
    liar.answer(() =>
      versionAnswer.encode({
        equal: false,
        digest: new Uint8Array(32),
        page: [[`x${asked++}`, 1, TAG]],
        excluded: [],
        more: true,
      }),
    )
    const blamed = (): boolean => HONEST.some((name) => world.network.peer(name).penalties.length > 0)
    assert.deepEqual(await finish(world, blamed), ['bad-answer'])
  })

  const page =
    (entries: [string, number][], more = false): Answerer =>
    () =>
      versionAnswer.encode({
        equal: false,
        digest: new Uint8Array(32),
        page: entries.map(([author, count]) => [author, count, TAG]),
        excluded: [],
        more,
      })
  const lies: [string, Answerer, string[]][] = [
    ['with garbage', () => Uint8Array.of(9, 9, 9), ['bad-answer']],
    [
      'with a version vector out of order',
      page([
        ['b', 1],
        ['a', 1],
      ]),
      ['bad-answer'],
    ],
    ['with more contributions than the run has steps', page([['ghost', STEPS + 1]]), ['bad-answer']],
    ['with pages without end', page([], true), ['bad-answer']],
    ['with the same page again and again', page([['a', 1]], true), ['bad-answer']],
    ['with a megabyte too much', () => new Uint8Array(1024 * 1024 + 1), ['bad-answer']],
    ['never', () => new Promise(() => {}), []],
  ]
  for (const [index, [name, answerer, expected]] of lies.entries()) {
    test(`${name} is left${expected.length > 0 ? ' and blamed' : ''}`, async () => {
      const { world, liar } = await createScene(60 + index)
      liar.answer(answerer)
      const blamed = (): boolean =>
        expected.length === 0 || HONEST.some((each) => world.network.peer(each).penalties.length > 0)
      assert.deepEqual(await finish(world, blamed), expected)
    })
  }
})
