import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connected, IDLE, surplus } from './index.ts'

const NOW = 10_000_000
const bounds = { target: 2, max: 6 }

/** Peers 0, 1, 2, ... from the oldest connection to the newest, all unused for an hour but for what is said otherwise. */
const peers = (count: number, said: Record<number, Partial<Connected>> = {}): Connected[] =>
  Array.from({ length: count }, (_, index) => ({
    peer: String(index),
    openedAt: NOW - 4_000_000 + index,
    usedAt: NOW - 3_600_000 + index,
    points: 0,
    kept: false,
    ...said[index],
  }))

test('nothing is let go of up to half-way between target and most', () => {
  assert.deepEqual(surplus(peers(4), bounds, NOW), [])
})

test('above that the longest unused go, but never the oldest connections nor those to be kept', () => {
  assert.deepEqual(surplus(peers(5), bounds, NOW), ['2'])
  assert.deepEqual(surplus(peers(6, { 2: { kept: true } }), bounds, NOW), ['3', '4'])
  assert.deepEqual(surplus(peers(6, { 3: { usedAt: NOW - IDLE + 1 } }), bounds, NOW), ['2', '4'])
})

test('connections in use stay up to the most, and beyond it the one used longest ago goes first', () => {
  const used = { 2: { usedAt: NOW - 3 }, 3: { usedAt: NOW - 5 }, 4: { usedAt: NOW - 4 }, 5: { usedAt: NOW } }
  assert.deepEqual(surplus(peers(6, used), bounds, NOW), [])
  assert.deepEqual(surplus(peers(8, { ...used, 6: { usedAt: NOW }, 7: { usedAt: NOW } }), bounds, NOW), ['3', '4'])
})

test('who has points goes first, however old its connection is', () => {
  assert.deepEqual(surplus(peers(5, { 0: { points: 3 } }), bounds, NOW), ['0'])
})

test('a flood of newcomers in use does not push out the oldest', () => {
  const flood = Object.fromEntries(Array.from({ length: 28 }, (_, index) => [index + 2, { usedAt: NOW }]))
  const gone = surplus(peers(30, flood), bounds, NOW)
  assert.equal(gone.length, 24)
  assert.ok(!gone.includes('0') && !gone.includes('1'))
})
