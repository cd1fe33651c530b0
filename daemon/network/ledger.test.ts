import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BAN_DURATION, CREDIT_HALF_LIFE, HALF_LIFE, Ledger, MAX_CREDIT } from './ledger.ts'
import { type Ban, MAX_BANS } from './types.ts'

function setUp(stored: Ban[] = []) {
  const state = {
    now: 1_000,
    rejected: [] as string[],
    disconnected: [] as string[],
    proven: [] as string[],
    saved: stored,
  }
  const ledger = new Ledger({
    clock: { now: () => state.now, sleep: async () => {} },
    log: { debug: () => {}, info: () => {}, warn: () => {} },
    store: {
      load: async () => state.saved,
      save: async (bans) => {
        state.saved = [...bans]
      },
    },
    rejected: (peer, reason) => state.rejected.push(`${peer} ${reason}`),
    disconnect: (peer, proven) => {
      state.disconnected.push(peer)
      if (proven) state.proven.push(peer)
    },
    banned: () => {},
  })
  return { state, ledger }
}

test('five faults are a ban, with a disconnection on the way', async () => {
  const { state, ledger } = setUp()
  ledger.reject('a', 'fault', 'bad hash')
  assert.deepEqual(state.disconnected, [])
  ledger.reject('a', 'fault', 'bad hash')
  assert.deepEqual(state.disconnected, ['a'])
  for (let fault = 0; fault < 3; fault++) ledger.reject('a', 'fault', 'bad hash')
  assert.equal(ledger.isBanned('a'), true)
  assert.equal(ledger.isBanned('b'), false)
  await ledger.flush()
  assert.deepEqual(
    state.saved.map((ban) => ban.peer),
    ['a'],
  )
})

test('points fade, bans end', () => {
  const { state, ledger } = setUp()
  ledger.reject('a', 'fault', 'bad hash')
  state.now += HALF_LIFE
  assert.equal(ledger.points('a'), 5)
  for (let fault = 0; fault < 12; fault++) {
    ledger.reject('slow', 'fault', 'now and then')
    state.now += HALF_LIFE
  }
  assert.equal(ledger.isBanned('slow'), false)
  for (let fault = 0; fault < 5; fault++) ledger.reject('a', 'fault', 'bad hash')
  assert.equal(ledger.isBanned('a'), true)
  state.now += BAN_DURATION + 1
  assert.equal(ledger.isBanned('a'), false)
  assert.deepEqual(ledger.bans(), [])
})

test('what may be our own fault is not held against a peer for long', () => {
  const { ledger } = setUp()
  for (let late = 0; late < 10; late++) ledger.reject('a', 'too-slow', 'late')
  for (let flood = 0; flood < 100; flood++) ledger.reject('b', 'rate-limit', 'too fast')
  assert.equal(ledger.isBanned('a') || ledger.isBanned('b'), false)
  for (let flood = 0; flood < 3_000; flood++) ledger.reject('b', 'rate-limit', 'too fast')
  assert.equal(ledger.isBanned('b'), true)
})

test('stored bans count until they end, and there is a bound to them', async () => {
  const { ledger } = setUp([
    { peer: 'old', until: 10, reason: 'x' },
    { peer: 'new', until: 1e9, reason: 'x' },
  ])
  await ledger.load()
  assert.deepEqual(
    ledger.bans().map((ban) => ban.peer),
    ['new'],
  )
  for (let peer = 0; peer < MAX_BANS + 50; peer++) {
    for (let fault = 0; fault < 5; fault++) ledger.reject(`p${peer}`, 'fault', 'x')
  }
  assert.ok(ledger.bans().length <= MAX_BANS)
})

test('who is thrown out for a proven fault is told from who was only slow, and neither is gone to until it has faded', () => {
  const { state, ledger } = setUp()
  for (let fault = 0; fault < 2; fault++) ledger.reject('knave', 'fault', 'bad hash')
  for (let late = 0; late < 20; late++) ledger.reject('slow', 'too-slow', 'late')
  assert.deepEqual(state.disconnected, ['knave', 'slow'])
  assert.deepEqual(state.proven, ['knave'])
  assert.deepEqual(
    ['knave', 'slow', 'other'].map((peer) => ledger.isAvoided(peer)),
    [true, true, false],
  )
  state.now += HALF_LIFE
  assert.deepEqual(
    ['knave', 'slow'].map((peer) => ledger.isAvoided(peer)),
    [false, false],
  )
})

test('answers are credited up to a bound, credit fades, and a proven fault ends it', () => {
  const { state, ledger } = setUp()
  for (let answer = 0; answer < 9; answer++) ledger.worked('a')
  assert.equal(ledger.isGood('a'), false)
  for (let answer = 0; answer < 1_000; answer++) ledger.worked('a')
  assert.equal(ledger.isGood('a'), true)
  assert.equal(ledger.score('a'), MAX_CREDIT)
  state.now += CREDIT_HALF_LIFE
  assert.equal(ledger.score('a'), MAX_CREDIT / 2)
  ledger.reject('a', 'fault', 'bad hash')
  assert.deepEqual(ledger.standing('a'), { score: -10, credit: 0, points: 10, refused: { fault: 1 } })
  assert.equal(ledger.isGood('a'), false)
})

test('credit buys no fault', () => {
  const { state, ledger } = setUp()
  for (let fault = 0; fault < 5; fault++) {
    for (let answer = 0; answer < 1_000; answer++) ledger.worked('a')
    ledger.reject('a', 'too-slow', 'late', 9.9)
  }
  assert.deepEqual(state.disconnected, ['a', 'a'])
  assert.equal(ledger.isBanned('a'), true)
})

test('a ban that was written while the clock was wrong ends in time', async () => {
  const { state, ledger } = setUp([{ peer: 'a', until: 1e15, reason: 'x' }])
  await ledger.load()
  assert.equal(ledger.isBanned('a'), true)
  state.now += BAN_DURATION + 1
  assert.equal(ledger.isBanned('a'), false)
})
