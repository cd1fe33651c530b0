import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Member } from '../ports.ts'
import type { StrategyModules } from '../strategy.ts'
import { giveReplicas, MAX_CLAIMED_ROUND, newestRound, type ReplicaTasks, replicaAnswer } from './fetch.ts'

test('while the copy that others fetch from is written to, nothing is given', async () => {
  let copied: () => void = () => {}
  const copying = new Promise<null>((resolve) => {
    copied = () => resolve(null)
  })
  const offers: string[] = []
  let asked: (() => Promise<Uint8Array>) | undefined
  const root = 'ab'.repeat(32)
  const modules = {
    swarm: {
      clock: { now: () => 0 },
      answer: (_method: string, answerer: typeof asked) => {
        asked = answerer
        return () => {}
      },
    },
    learner: { compute: () => copying, bytes: () => new Uint8Array(8) },
    blobs: {
      offer: async () => {
        offers.push('offered')
        return { root, size: 8 }
      },
      withdraw: () => offers.push('withdrawn'),
    },
  } as unknown as StrategyModules
  const giving = giveReplicas(modules, {} as ReplicaTasks, () => ({ ready: true, round: 3, roundStep: 12 }))
  assert.ok(asked !== undefined)
  const first = asked()
  const paused = giving.pause()
  await assert.rejects(asked(), { code: 'not-ready' })
  copied()
  await paused
  assert.deepEqual(offers, ['offered', 'withdrawn'], 'a copy being made is waited for, and taken back')
  await first.catch(() => undefined)
  giving.resume()
  assert.deepEqual(replicaAnswer.decode(await asked()), { step: 12, round: 3, root, size: 8 })
})

test('the newest round is that of honest members, as long as half of them are', () => {
  const members = (...rounds: number[]): Member[] =>
    rounds.map((round) => ({ status: { phase: 'training', round } }) as Member)
  assert.equal(newestRound([]), undefined)
  assert.equal(newestRound(members(7, 9, 8)), 9)
  assert.equal(newestRound(members(7, 9, 2 ** 40, 8)), 9)
  assert.equal(newestRound(members(7, 2 ** 40)), 7)
  assert.equal(newestRound(members(0, 0, 400)), 400)
  assert.equal(newestRound(members(MAX_CLAIMED_ROUND + 1)), undefined)
})
