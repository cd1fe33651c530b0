import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sha256Hex, toHex } from '../hash.ts'
import { directionKeys } from './directions.ts'

test('the key of a direction is SHA-256 over fixed-width fields', () => {
  const hash = (text: string): string => sha256Hex(text)
  const step = '0201000000000000'
  const fields = Buffer.from(
    Buffer.from('starling/spsa/direction/1').toString('hex') + hash('run') + hash('author') + step,
    'hex',
  )
  assert.equal(toHex(directionKeys('run', 'author').of(0x0102)), sha256Hex(fields))
})

test('golden', () => {
  assert.equal(
    toHex(directionKeys('bafyrun', '12D3KooWauthor').of(1)),
    'a4cb022c9cf92881d2883c4428b44d10fdf7470ce587da66df622d7d92f6485f',
  )
})

test('run, author and step all count, and cannot be mistaken for each other', () => {
  const seen = new Set<string>()
  for (const [run, author] of [
    ['a', 'bc'],
    ['ab', 'c'],
    ['abc', ''],
    ['', 'abc'],
  ] as const) {
    const keys = directionKeys(run, author)
    for (const step of [1, 2, 256, 2 ** 32, 2 ** 40]) {
      seen.add(toHex(keys.of(step)))
    }
    assert.deepEqual(keys.of(1), directionKeys(run, author).of(1))
  }
  assert.equal(seen.size, 20)
})
