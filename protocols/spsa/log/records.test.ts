import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StrategyEvent } from '../../events.ts'
import { seededRandom } from '../../random.ts'
import type { ContributionLog } from '../types.ts'
import { CHUNK } from './chain.ts'
import { createLog } from './log.ts'
import { contributions, MemoryRecords, RUN, segmentOf, signed, verify } from './testing/fixtures.ts'

interface Opened {
  log: ContributionLog
  events: StrategyEvent[]
}

async function open(records: MemoryRecords): Promise<Opened> {
  const events: StrategyEvent[] = []
  const log = createLog(
    { run: RUN, self: 'me', steps: 20_000, maxAuthors: 8 },
    {
      records,
      sign: async (data) => signed('me', data),
      verify,
      clock: { sleep: async () => {} },
      report: (event) => events.push(event),
    },
  )
  await log.open()
  return { log, events }
}

/** Lets every promise that can still settle do so. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a log that is opened again is the same log', async () => {
  const records = new MemoryRecords()
  const { log } = await open(records)
  const own = contributions(2 * CHUNK + 10)
  for (let from = 1; from <= own.length; from += 3000) {
    await log.append(own.subarray(from - 1, from + 2999), from)
  }
  await log.accept(await segmentOf('a', contributions(CHUNK, 1)))
  await log.accept(await segmentOf('b', contributions(7, 2)))
  await log.flush()
  await log.accept(await segmentOf('c', [1]))
  await log.accept(await segmentOf('c', [2]))
  const again = await open(new MemoryRecords(records.data))
  assert.deepEqual(again.events, [])
  assert.deepEqual(again.log.digest(), log.digest())
  assert.deepEqual(again.log.bytesOf('me'), own)
  assert.deepEqual([...again.log.excluded().keys()], ['c'])
  assert.deepEqual(again.log.excluded().get('c'), log.excluded().get('c'))
  // It goes on where it stopped, anchors included.
  const next = await again.log.append(Uint8Array.of(1), own.length + 1)
  assert.deepEqual(next, await segmentOf('me', [...own, 1], own.length + 1))
  const fork = await segmentOf('b', [...contributions(6, 2), 99, 1])
  assert.deepEqual(await again.log.accept(fork), { refused: 'equivocation' })
})

test('killed after any write: what was appended or excluded before is there, what is there fits, and nothing is signed twice', async () => {
  const others = { a: contributions(CHUNK + 50, 1), b: contributions(30, 2) }
  const fork = await segmentOf('b', [...others.b.subarray(0, 10), 77])
  for (let writes = 0; ; writes++) {
    const records = new MemoryRecords(new Map(), writes)
    const { log } = await open(records)
    /** Published own bytes: a promise was made for each of them. */
    const promised: number[] = []
    let excluded = false
    const life = async (): Promise<void> => {
      const publish = async (bytes: Uint8Array): Promise<void> => {
        await log.append(bytes, promised.length + 1)
        promised.push(...bytes)
      }
      await publish(contributions(CHUNK - 2))
      await log.accept(await segmentOf('a', others.a.subarray(0, 20)))
      await log.accept(await segmentOf('b', others.b))
      await log.flush()
      await publish(contributions(5, 3))
      await log.accept(await segmentOf('a', others.a, 5))
      await log.flush()
      await log.accept(fork)
      excluded = true
      await publish(contributions(CHUNK + 9, 4))
    }
    let over = false
    void life().then(() => {
      over = true
    })
    for (let turn = 0; turn < 5 && !over; turn++) {
      await settle()
    }

    const { log: next, events } = await open(new MemoryRecords(records.data))
    assert.deepEqual(events, [], `after ${writes} writes everything on disk fits`)
    const own = next.bytesOf('me')
    assert.deepEqual([...own.subarray(0, promised.length)], promised, `after ${writes} writes`)
    assert.deepEqual(next.bytesOf('a'), others.a.subarray(0, next.bytesOf('a').length))
    assert.ok(!excluded || next.excluded().has('b'))
    assert.ok(!next.excluded().has('b') || next.bytesOf('b').length === 0)
    await next.append(Uint8Array.of(200), own.length + 1)
    if (over) {
      assert.ok(writes > 10, 'every kind of write was cut off once')
      return
    }
  }
})

test('a record that was changed, cut or lost is found; its author is fetched again, and this peer itself does not go on as if it had never spoken', async () => {
  const records = new MemoryRecords()
  const { log } = await open(records)
  await log.append(contributions(CHUNK + 20), 1)
  await log.accept(await segmentOf('a', contributions(CHUNK + 30, 1)))
  await log.accept(await segmentOf('b', [1]))
  await log.accept(await segmentOf('b', [2]))
  await log.flush()
  const random = seededRandom('damage')
  for (const key of records.data.keys()) {
    const good = records.data.get(key)!
    const damages = [
      ...Array.from({ length: 5 }, () => {
        const at = random.integer(good.length)
        const bit = 1 << random.integer(8)
        return good.map((byte, index) => (index === at ? byte ^ bit : byte))
      }),
      good.subarray(0, random.integer(good.length)),
      new Uint8Array([...good, 0]),
      // A whole record of another author, or of an earlier time.
      ...[...records.data].filter(([other]) => other !== key).map(([, value]) => value),
    ]
    for (const damage of damages) {
      const damaged = new MemoryRecords(new Map([...records.data, [key, damage]]))
      const { log: next, events } = await open(damaged)
      const author = key.split('/')[2]!
      assert.equal(events.length, 1, `${key}: the damage is reported`)
      assert.ok(events[0]!.kind === 'rejected' && events[0]!.peer === author)
      const expected = new Map([...log.version()].filter(([name]) => name !== author))
      assert.deepEqual(next.version(), expected)
      assert.equal(next.excluded().has('b'), author !== 'b')
      assert.equal(next.ownDamaged, author === 'me')
      if (author !== 'me') {
        continue
      }
      await assert.rejects(next.append(Uint8Array.of(1), 1), { code: 'own-log-damaged' })
      // Still so after another start, and until others have given the history back.
      const { log: third } = await open(new MemoryRecords(damaged.data))
      assert.equal(third.ownDamaged, true)
      await third.accept(await segmentOf('me', contributions(CHUNK + 20)))
      third.trustOwn()
      await third.append(Uint8Array.of(9), CHUNK + 21)
      const { log: fourth, events: none } = await open(new MemoryRecords(damaged.data))
      assert.deepEqual([none, fourth.ownDamaged], [[], false])
      assert.deepEqual([...fourth.bytesOf('me')], [...contributions(CHUNK + 20), 9])
    }
  }
})

test('appending writes one record, and a full chunk is written once', async () => {
  const records = new MemoryRecords()
  const { log } = await open(records)
  await log.append(contributions(CHUNK - 16), 1)
  assert.equal(records.done, 1)
  await log.append(contributions(16), CHUNK - 15)
  assert.equal(records.done, 3)
  await log.append(contributions(16), CHUNK + 1)
  assert.equal(records.done, 4)
})
