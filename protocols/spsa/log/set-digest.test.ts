import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { equalBytes, sha256, toHex } from '../../hash.ts'
import { SetDigest } from './set-digest.ts'

const element = (index: number): Uint8Array => sha256(`element ${index}`)

/** The digest of a set, its elements added one after the other. */
function digestOf(added: Iterable<number>, excluded: Iterable<number> = []): Uint8Array {
  const digest = new SetDigest()
  for (const index of added) {
    digest.add(element(index))
  }
  for (const index of excluded) {
    digest.exclude(element(index))
  }
  return digest.name()
}

const indices = fc.uniqueArray(fc.nat(50), { maxLength: 20 })

/** A way from the empty set: elements that come and go, and exclusions, which stay. */
const path = fc.array(fc.tuple(fc.constantFrom('toggle', 'toggle', 'exclude'), fc.nat(5)), { maxLength: 40 })

describe('the digest of a set', () => {
  test('does not depend on the order of additions', () => {
    const orders = indices.chain((set) =>
      fc.tuple(fc.constant(set), fc.shuffledSubarray(set, { minLength: set.length })),
    )
    fc.assert(
      fc.property(orders, ([set, other]) => {
        assert.deepEqual(digestOf(other), digestOf(set))
      }),
      { numRuns: 100, seed: 1 },
    )
  })

  test('does not depend on the way there: whatever was removed was never there', () => {
    fc.assert(
      fc.property(path, (steps) => {
        const digest = new SetDigest()
        const held = new Set<number>()
        const excluded = new Set<number>()
        for (const [what, index] of steps) {
          if (what === 'exclude') {
            if (!excluded.has(index)) {
              excluded.add(index)
              digest.exclude(element(index))
            }
          } else if (held.delete(index)) {
            digest.remove(element(index))
          } else {
            held.add(index)
            digest.add(element(index))
          }
          assert.deepEqual(digest.name(), digestOf(held, excluded))
        }
      }),
      { numRuns: 100, seed: 2 },
    )
  })

  test('differs between sets that differ', () => {
    fc.assert(
      fc.property(indices, indices, indices, indices, (a, b, outA, outB) => {
        const same = (left: number[], right: number[]): boolean => `${left.sort()}` === `${right.sort()}`
        assert.equal(equalBytes(digestOf(a, outA), digestOf(b, outB)), same(a, b) && same(outA, outB))
      }),
      { numRuns: 100, seed: 3 },
    )
    assert.notDeepEqual(digestOf([1]), digestOf([], [1]), 'to be excluded is another thing than to be held')
  })

  test('that was given stays as it was when the set changes', () => {
    const digest = new SetDigest()
    const before = digest.name()
    const copy = before.slice()
    digest.add(element(1))
    assert.notDeepEqual(digest.name(), copy)
    assert.deepEqual(before, copy)
  })

  test('is the same on every machine', () => {
    assert.equal(toHex(digestOf([])), 'd8a4649a72f954563d692fb3a267931127823265a29b01e6c876aba278e2a7b3')
    assert.equal(toHex(digestOf([1, 2], [3])), '11e2f7d7547e0243152dd5855e77f32800e156b95a500e23699fd549633a0ce2')
  })
})
