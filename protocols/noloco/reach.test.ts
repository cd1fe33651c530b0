import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reach, shareOf } from './reach.ts'

test('a message counts whole within one and a half times the middle distance, and by the square of the ratio beyond', () => {
  const reach = new Reach()
  // Nobody was met yet: the own progress is the measure.
  assert.equal(reach.of(2), 6)
  for (const [partner, distance] of [
    ['a', 3],
    ['b', 4],
    ['c', 5],
    ['d', 1],
  ] as const) {
    reach.note(partner, distance)
  }
  assert.equal(reach.of(0.5), 4.5)
  assert.equal(shareOf(4.5, 4.5), 1)
  assert.equal(shareOf(9, 4.5), 1 / 4)
  assert.equal(shareOf(0, 0), 1)
})

test('two liars of five move it no further than the honest distances, however often they are met and whatever they send', () => {
  for (const [first, second] of [
    [1e9, 1e9],
    [0, 0],
    [0, 1e9],
  ] as const) {
    const reach = new Reach()
    for (const [peer, distance] of [
      ['a', 3],
      ['b', 4],
      ['c', 5],
    ] as const) {
      reach.note(peer, distance)
    }
    for (let i = 0; i < 50; i++) {
      reach.note('liar', first)
      reach.note('another', second)
    }
    const found = reach.of(3)
    assert.ok(found >= 1.5 * 3 && found <= 1.5 * 5, String(found))
  }
})

test('distances of peers that were not met for long are forgotten', () => {
  const reach = new Reach()
  for (let i = 0; i < 100; i++) {
    reach.note(`old-${i}`, 100)
  }
  for (let i = 0; i < 15; i++) {
    reach.note(`new-${i}`, 1)
  }
  assert.equal(reach.of(1), 1.5)
})

test('who drifted far away comes back: the distance shrinks with every exchange until it counts whole', () => {
  const usual = 1
  let distance = 10
  let exchanges = 0
  // Of the difference of two messages the outer step takes 0.7.
  while (distance > 1.5 * usual) {
    distance *= 1 - 0.7 * shareOf(distance, 1.5 * usual)
    exchanges++
    assert.ok(exchanges < 50)
  }
  assert.ok(exchanges > 5)
})
