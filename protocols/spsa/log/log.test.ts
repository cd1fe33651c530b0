import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { StarlingError } from '../../errors.ts'
import type { StrategyEvent } from '../../events.ts'
import type { Change, ContributionLog, Segment } from '../types.ts'
import { CHUNK } from './chain.ts'
import { MAX_STEPS } from './limits.ts'
import { createLog, type LogOptions } from './log.ts'
import { contributions, MemoryRecords, RUN, segmentOf, signed, verify } from './testing/fixtures.ts'

interface Opened {
  log: ContributionLog
  changes: Change[]
  events: StrategyEvent[]
}

async function open(options: Partial<LogOptions> = {}, records = new MemoryRecords()): Promise<Opened> {
  const self = options.self ?? 'me'
  const events: StrategyEvent[] = []
  const changes: Change[] = []
  const log = createLog(
    { run: RUN, self, steps: 20_000, maxAuthors: 16, ...options },
    {
      records,
      sign: async (data) => signed(self, data),
      verify,
      clock: { sleep: async () => {} },
      report: (event) => events.push(event),
    },
  )
  await log.open()
  log.onChange((change) => changes.push({ ...change, bytes: change.bytes.slice() }))
  return { log, changes, events }
}

const code = (expected: string) => (error: unknown) => error instanceof StarlingError && error.code === expected

describe('own contributions', () => {
  test('what is appended is signed, counted, told and given to others, who take it', async () => {
    const { log, changes } = await open()
    const first = await log.append(Uint8Array.of(1, 2, 3), 1)
    const second = await log.append(Uint8Array.of(4), 4)
    assert.deepEqual(
      changes.map(({ kind, author, from, bytes }) => [kind, author, from, [...bytes]]),
      [
        ['added', 'me', 1, [1, 2, 3]],
        ['added', 'me', 4, [4]],
      ],
    )
    const other = await open({ self: 'you' })
    assert.deepEqual(await other.log.accept(first), { added: 3 })
    assert.deepEqual(await other.log.accept(second), { added: 1 })
    assert.deepEqual(other.log.digest(), log.digest())
    assert.deepEqual([...other.log.version()], [['me', 4]])
    assert.equal(other.log.count, 4)
    assert.deepEqual([...other.log.bytesOf('me')], [1, 2, 3, 4])
  })

  test('a batch for other steps than the next ones is refused, so that nothing is signed twice', async () => {
    const { log } = await open()
    await log.append(Uint8Array.of(1), 1)
    await assert.rejects(log.append(Uint8Array.of(2), 1), code('own-log-moved'))
    await assert.rejects(log.append(Uint8Array.of(2), 3), code('own-log-moved'))
    const both = await Promise.allSettled([log.append(Uint8Array.of(2), 2), log.append(Uint8Array.of(3), 2)])
    assert.deepEqual(
      both.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    )
    assert.deepEqual([...log.bytesOf('me')], [1, 2])
  })

  test('the own prefix comes back from others, and what comes after joins it', async () => {
    const { log } = await open()
    assert.deepEqual(await log.accept(await segmentOf('me', [5, 6, 7])), { added: 3 })
    await assert.rejects(log.append(Uint8Array.of(1), 1), code('own-log-moved'))
    await log.append(Uint8Array.of(8), 4)
    assert.deepEqual([...log.bytesOf('me')], [5, 6, 7, 8])
  })

  test('no more than the run has steps, no byte that is none, and no log that is too long to be proven false', async () => {
    const { log } = await open({ steps: 3 })
    await assert.rejects(log.append(contributions(4), 1), code('beyond-steps'))
    await assert.rejects(log.append(Uint8Array.of(1, 0x80), 1), RangeError)
    await assert.rejects(open({ steps: MAX_STEPS + 1 }), code('bad-option'))
    assert.equal(log.count, 0)
  })

  test('a disk that fails leaves the set as it was', async () => {
    const records = new MemoryRecords()
    const { log, changes } = await open({}, records)
    await log.append(Uint8Array.of(1), 1)
    const digest = log.digest()
    records.put = async () => {
      throw new Error('disk full')
    }
    await assert.rejects(log.append(Uint8Array.of(2), 2), /disk full/)
    assert.deepEqual([log.digest(), log.count, changes.length], [digest, 1, 1])
    assert.deepEqual([...log.bytesOf('me')], [1])
  })
})

describe('contributions of others', () => {
  test('overlapping, repeated and early segments come to the same set', async () => {
    const bytes = contributions(40)
    const upTo = (end: number, from: number): Promise<Segment> => segmentOf('a', bytes.subarray(0, end), from)
    const { log } = await open()
    assert.deepEqual(await log.accept(await upTo(20, 11)), { gap: true })
    assert.deepEqual(await log.accept(await upTo(10, 1)), { added: 10 })
    assert.deepEqual(await log.accept(await upTo(20, 6)), { added: 10 })
    assert.deepEqual(await log.accept(await upTo(20, 6)), { added: 0 })
    assert.deepEqual(await log.accept(await upTo(15, 3)), { added: 0 })
    assert.deepEqual(await log.accept(await upTo(40, 1)), { added: 20 })
    assert.deepEqual(log.bytesOf('a'), bytes)
  })

  test('any order of any segments, all of which arrive in the end, gives equal digests and equal bytes', async () => {
    const histories = ['a', 'b', 'c'].map((author, seed) => ({ author, bytes: contributions(60, seed) }))
    const cut = fc.record({ author: fc.nat(2), a: fc.integer({ min: 1, max: 60 }), b: fc.integer({ min: 1, max: 60 }) })
    const complete = await open()
    for (const { author, bytes } of histories) {
      await complete.log.accept(await segmentOf(author, bytes))
    }
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { maxLength: 30 }), async (cuts) => {
        const { log, changes } = await open()
        const model = new Map<string, number>()
        for (const { author, a, b } of cuts) {
          const history = histories[author]!
          const [from, to] = a < b ? [a, b] : [b, a]
          const held = model.get(history.author) ?? 0
          const taken = await log.accept(await segmentOf(history.author, history.bytes.subarray(0, to), from))
          assert.deepEqual(taken, from > held + 1 ? { gap: true } : { added: Math.max(0, to - held) })
          model.set(history.author, from > held + 1 ? held : Math.max(held, to))
        }
        assert.equal(
          log.count,
          [...model.values()].reduce((sum, each) => sum + each, 0),
        )
        for (const { author, bytes } of histories) {
          await log.accept(await segmentOf(author, bytes))
          const told = changes.filter((change) => change.author === author).flatMap((change) => [...change.bytes])
          assert.deepEqual(told, [...bytes], 'what was told adds up to what is held')
        }
        assert.deepEqual(log.digest(), complete.log.digest())
      }),
      { numRuns: 40, seed: 3 },
    )
  })

  test('the digest tells apart what differs in a byte, a count or an author', async () => {
    const digests = new Set<string>()
    for (const segments of [
      [],
      [await segmentOf('a', [1])],
      [await segmentOf('a', [2])],
      [await segmentOf('a', [1, 1])],
      [await segmentOf('b', [1])],
      [await segmentOf('a', [1]), await segmentOf('b', [1])],
    ]) {
      const { log } = await open()
      for (const segment of segments) {
        await log.accept(segment)
      }
      digests.add(Buffer.from(log.digest()).toString('hex'))
    }
    assert.equal(digests.size, 6)
  })

  test('what nobody honest sends is refused with its reason, and changes nothing', async () => {
    const { log, changes } = await open({ steps: 100, maxAuthors: 2 })
    await log.accept(await segmentOf('a', contributions(10)))
    const digest = log.digest()
    const good = await segmentOf('a', contributions(20), 11)
    const flipped = good.signature.map((byte, index) => (index === 5 ? byte ^ 1 : byte))
    const altered = good.bytes.map((byte, index) => (index === 3 ? byte ^ 1 : byte))
    const cases: [Segment, object][] = [
      [{ ...good, signature: flipped }, { refused: 'bad-signature' }],
      [{ ...good, bytes: altered }, { refused: 'bad-signature' }],
      [{ ...good, author: 'b', from: 1 }, { refused: 'bad-signature' }],
      [await segmentOf('a', contributions(20), 11, 'another-run'), { refused: 'bad-signature' }],
      [{ ...good, signature: good.signature.subarray(1) }, { refused: 'bad-segment' }],
      [{ ...good, bytes: new Uint8Array(0) }, { refused: 'bad-segment' }],
      [{ ...good, from: 0 }, { refused: 'bad-segment' }],
      [{ ...good, from: 1.5 }, { refused: 'bad-segment' }],
      [{ ...good, author: '../a' }, { refused: 'bad-segment' }],
      [await segmentOf('a', [...contributions(10), 0x80], 11), { refused: 'bad-byte' }],
      [await segmentOf('a', contributions(101), 1), { refused: 'beyond-steps' }],
      // Other bytes for steps that are held, under a signature that is none.
      [{ ...(await segmentOf('a', contributions(9, 1))), signature: flipped }, { refused: 'bad-signature' }],
    ]
    for (const [segment, expected] of cases) {
      assert.deepEqual(await log.accept(segment), expected)
    }
    assert.deepEqual(log.digest(), digest)
    await log.accept(await segmentOf('b', [1]))
    assert.deepEqual(await log.accept(await segmentOf('c', [1])), { refused: 'too-many-authors' })
    assert.equal(changes.length, 2)
    assert.deepEqual(await log.accept(good), { added: 10 }, 'the honest rest still counts')
  })

  test('a segment ends at the signed head, or there is none', async () => {
    const { log } = await open()
    const whole = await segmentOf('a', contributions(50))
    await log.accept(whole)
    assert.deepEqual(log.segmentOf('a', 1, 50), whole)
    assert.deepEqual(log.segmentOf('a', 31, 20), await segmentOf('a', contributions(50), 31))
    assert.equal(log.segmentOf('a', 1, 49), undefined)
    assert.equal(log.segmentOf('a', 51, 50), undefined)
    assert.equal(log.segmentOf('a', 0, 100), undefined)
    assert.equal(log.segmentOf('b', 1, 50), undefined)
  })
})

describe('two histories of one author', () => {
  test('are found wherever they part, and exclude it: the set is as if it had never spoken', async () => {
    const long = CHUNK + 100
    for (const parting of [1, 60, CHUNK, CHUNK + 1, long]) {
      const { log, changes, events } = await open()
      await log.accept(await segmentOf('b', contributions(9, 4)))
      await log.accept(await segmentOf('a', contributions(long)))
      const fork = contributions(long + 7)
      fork[parting - 1] = fork[parting - 1] === 3 ? 5 : 3
      // Shown from the parting on: the other history need not be known from its start.
      assert.deepEqual(await log.accept(await segmentOf('a', fork, Math.max(1, parting - 5))), {
        refused: 'equivocation',
      })
      assert.deepEqual([...log.version()], [['b', 9]])
      assert.equal(log.count, 9)
      assert.deepEqual(changes.at(-1), { kind: 'removed', author: 'a', from: 1, bytes: contributions(long) })
      assert.deepEqual(
        events.map((event) => event.kind === 'excluded' && [event.peer, event.step, event.own]),
        [['a', parting, false]],
      )
      assert.deepEqual(await log.accept(await segmentOf('a', contributions(long))), { refused: 'excluded' })

      // The proof is enough for others, whatever they hold of that author.
      const proof = log.excluded().get('a')!
      assert.equal(proof.step, parting)
      for (const held of [0, parting]) {
        const other = await open()
        await other.log.accept(await segmentOf('b', contributions(9, 4)))
        if (held > 0) {
          await other.log.accept(await segmentOf('a', contributions(held)))
        }
        assert.equal(await other.log.accuse(proof), true)
        assert.equal(await other.log.accuse(proof), true)
        assert.deepEqual(other.log.digest(), log.digest())
      }
    }
  })

  test('a peer that contradicts itself is told what it did and contributes no more', async () => {
    const { log, events } = await open()
    await log.append(Uint8Array.of(1, 2, 3), 1)
    assert.deepEqual(await log.accept(await segmentOf('me', [1, 2, 4])), { refused: 'equivocation' })
    const event = events.find(({ kind }) => kind === 'excluded')
    assert.ok(
      event?.kind === 'excluded' && event.own && /same key/.test(event.reason) && /older copy/.test(event.reason),
    )
    await assert.rejects(log.append(Uint8Array.of(5), 1), code('excluded'))
  })

  test('a proof needs two histories that part at its step, both signed, in this run', async () => {
    const { log: finder } = await open()
    await finder.accept(await segmentOf('a', contributions(30)))
    await finder.accept(await segmentOf('a', [...contributions(20), 9, 9, 9]))
    const proof = finder.excluded().get('a')!
    const [held, other] = proof.branches
    const { log } = await open()
    await log.accept(await segmentOf('a', contributions(30)))
    const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 1 ? byte ^ 1 : byte))
    for (const lie of [
      { ...proof, author: 'b' },
      { ...proof, author: 'a/b' },
      { ...proof, step: proof.step + 1 },
      { ...proof, step: 0 },
      { ...proof, before: flip(proof.before) },
      { ...proof, before: proof.before.subarray(1) },
      { ...proof, branches: [held, held] as const },
      { ...proof, branches: [held, { ...other, signature: held.signature }] as const },
      { ...proof, branches: [{ ...held, bytes: flip(held.bytes) }, other] as const },
      { ...proof, branches: [{ ...held, bytes: new Uint8Array(0) }, other] as const },
      { ...proof, step: 1, before: new Uint8Array(32) },
    ]) {
      assert.equal(await log.accuse(lie), false)
    }
    assert.equal(log.count, 30)
    const short = await open({ steps: 25 })
    assert.equal(await short.log.accuse(proof), false, 'a branch is longer than the run')
    assert.equal(await log.accuse(proof), true)
  })

  test('excluded authors take places too, so that their number is bounded', async () => {
    const { log } = await open({ maxAuthors: 2 })
    const prove = async (author: string): Promise<void> => {
      const { log: finder } = await open()
      await finder.accept(await segmentOf(author, [1]))
      await finder.accept(await segmentOf(author, [2]))
      assert.equal(await log.accuse(finder.excluded().get(author)!), true)
    }
    await prove('a')
    await log.accept(await segmentOf('b', [1]))
    await prove('c')
    assert.deepEqual([...log.excluded().keys()], ['a'])
    await prove('b')
    assert.deepEqual([...log.excluded().keys()], ['a', 'b'])
  })
})
