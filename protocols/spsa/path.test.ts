import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../random.ts'
import { countOf, equalVersions, towards } from './path.ts'

test('from any set to any other in steps that are sets, none of them longer than the limit', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = seededRandom('path', seed)
    const draw = (): Map<string, number> => {
      const version = new Map<string, number>()
      for (let author = 0; author < 6; author++) {
        const count = random.uniform() < 0.3 ? 0 : random.integer(random.uniform() < 0.5 ? 5 : 60)
        if (count > 0) {
          version.set(`author-${author}`, count)
        }
      }
      return version
    }
    const from = draw()
    const to = draw()
    const limit = 1 + random.integer(20)
    const authors = new Set([...from.keys(), ...to.keys()])
    let at: ReadonlyMap<string, number> = from
    for (let stops = 0; !equalVersions(at, to); stops++) {
      assert.ok(stops < 1_000, `seed ${seed}: it never arrives`)
      const next = towards(at, to, limit)
      let distance = 0
      for (const author of authors) {
        const [before, after, goal] = [at, next, to].map((version) => version.get(author) ?? 0) as [
          number,
          number,
          number,
        ]
        distance += Math.abs(after - before)
        assert.ok(after >= Math.min(before, goal) && after <= Math.max(before, goal), `seed ${seed}: past the goal`)
      }
      assert.ok(distance > 0 && distance <= limit, `seed ${seed}: ${distance} contributions at once`)
      assert.ok([...next.values()].every((count) => count > 0))
      at = next
    }
  }
})

test('rounds fill up in order', () => {
  const to = new Map([
    ['a', 10],
    ['b', 4],
    ['c', 7],
  ])
  let at: ReadonlyMap<string, number> = new Map()
  while (!equalVersions(at, to)) {
    at = towards(at, to, 3)
    const steps = [...to].map(([author, count]) =>
      (at.get(author) ?? 0) === count ? Number.POSITIVE_INFINITY : (at.get(author) ?? 0),
    )
    const behind = Math.min(...steps)
    assert.ok([...at].every(([, count]) => count <= behind + 1))
  }
  assert.equal(countOf(at), 21)
})
