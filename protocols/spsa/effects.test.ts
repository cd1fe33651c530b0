import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeByte } from './byte.ts'
import { type Effect, effectsBetween } from './effects.ts'
import { SCALINGS, spsaOptionsSchema } from './options.ts'
import type { VersionVector } from './types.ts'
import { type WeightRule, weightOf, weightRule } from './weights.ts'

const AUTHORS = ['ada', 'bob', 'cyd', 'dan', 'eve']
const STEPS = 12

/** Contributions of the authors, all different in what they add up to. */
const BYTES = new Map(
  AUTHORS.map((author, a) => [author, Uint8Array.from({ length: STEPS }, (_, i) => (17 * a + 29 * i + 1) % 128)]),
)
const bytesOf = (author: string): Uint8Array => BYTES.get(author)!

const ruleOf = (scaling: string): WeightRule =>
  weightRule(spsaOptionsSchema.parse({ scaling, warmup: 3, finalRate: 0.2 }), STEPS)

const versions = fc
  .tuple(...AUTHORS.map(() => fc.integer({ min: 0, max: STEPS })))
  .map(
    (counts): VersionVector =>
      new Map(AUTHORS.map((author, i) => [author, counts[i]!] as const).filter(([, count]) => count > 0)),
  )

/** Adds effects to a table of what each direction is multiplied with. */
function add(table: Map<string, number>, effects: readonly Effect[]): void {
  for (const { author, from, coefficients } of effects) {
    for (const [i, coefficient] of coefficients.entries()) {
      const name = `${author} ${from + i}`
      const sum = (table.get(name) ?? 0) + coefficient
      if (sum === 0) {
        table.delete(name)
      } else {
        table.set(name, sum)
      }
    }
  }
}

/** The table of a set, by the definition. */
function definition(version: VersionVector, rule: WeightRule): Map<string, number> {
  const table = new Map<string, number>()
  for (const [author, count] of version) {
    for (let step = 1; step <= count; step++) {
      const authors = [...version.values()].filter((other) => other >= step).length
      const value = weightOf(rule, step, authors) * decodeByte(bytesOf(author)[step - 1]!, rule.limit)
      if (value !== 0) {
        table.set(`${author} ${step}`, value)
      }
    }
  }
  return table
}

test('any way from set to set ends in the multiples that the definition gives', () => {
  for (const scaling of SCALINGS) {
    const rule = ruleOf(scaling)
    fc.assert(
      fc.property(fc.array(versions, { minLength: 1, maxLength: 6 }), (stops) => {
        const table = new Map<string, number>()
        let at: VersionVector = new Map()
        for (const next of stops) {
          add(table, effectsBetween(at, next, bytesOf, rule))
          assert.deepEqual(new Map([...table].sort()), new Map([...definition(next, rule)].sort()))
          at = next
        }
        add(table, effectsBetween(at, new Map(), bytesOf, rule))
        assert.equal(table.size, 0)
      }),
      { seed: 1 },
    )
  }
})

test('nothing is said of what stays as it is', () => {
  const [before, after] = [
    new Map([
      ['ada', 9],
      ['bob', 7],
    ]),
    new Map([
      ['ada', 9],
      ['bob', 8],
    ]),
  ]
  const sizes = (scaling: string) =>
    effectsBetween(before, after, bytesOf, ruleOf(scaling)).map(({ author, from, coefficients }) => [
      author,
      from,
      coefficients.length,
    ])
  assert.deepEqual(sizes('sum'), [['bob', 8, 1]])
  // Ada's contribution of the round that Bob joined weighs less now, her later one does not.
  assert.deepEqual(sizes('mean'), [
    ['ada', 8, 1],
    ['bob', 8, 1],
  ])
  assert.deepEqual(effectsBetween(before, before, bytesOf, ruleOf('sqrt')), [])
})

test('the sum of two sets of one author each is the set of both, when rounds are not divided', () => {
  const rule = ruleOf('sum')
  const [ada, bob] = [new Map([['ada', 5]]), new Map([['bob', 8]])]
  const both = definition(new Map([...ada, ...bob]), rule)
  const table = new Map<string, number>()
  add(table, effectsBetween(new Map(), ada, bytesOf, rule))
  add(table, effectsBetween(new Map(), bob, bytesOf, rule))
  assert.deepEqual(table, both)
})
