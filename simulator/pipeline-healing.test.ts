import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createHoldersWorld } from './testing/holders.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g']

describe('the start', () => {
  test('seven peers deal one data peer and six stages, one each', async () => {
    const world = createHoldersWorld({ seed: 1 })
    for (const name of NAMES) {
      await world.start(name)
    }
    await world.network.clock.runUntil(() => world.whole(), 20_000)
    for (let part = 0; part <= 6; part++) {
      assert.equal(world.holding(part).length, 1, `part ${part}`)
    }
    for (const process of world.alive()) {
      assert.equal(process.holders.holds().length, 1, process.name)
    }
  })
})
