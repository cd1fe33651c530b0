import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODEC_NAMES } from '../codecs/index.ts'
import { type Exchange, partFault, sendingFault } from './index.ts'

const EXCHANGES: Exchange[] = ['shared-base', 'pair-gossip']

test('without a memory, pairs average models through 8 bits and more only', () => {
  const fits = (exchange: Exchange): string[] =>
    CODEC_NAMES.filter((codec) => sendingFault(exchange, { codec, memory: 'none' }) === undefined)
  assert.deepEqual(fits('pair-gossip'), ['float32', 'float16', 'int8', 'int8-stochastic'])
  assert.deepEqual(fits('shared-base'), ['float32', 'float16', 'int8', 'int8-stochastic', 'int4'])
})

test('memories belong to a shared base, replicas to gossip, whatever the code', () => {
  for (const codec of CODEC_NAMES) {
    for (const memory of ['decay', 'ef21', 'econtrol'] as const) {
      assert.equal(sendingFault('shared-base', { codec, memory }), undefined)
      assert.match(
        sendingFault('pair-gossip', { codec, memory }) ?? '',
        /only replicas let a coarse code converge there/,
      )
    }
    assert.match(sendingFault('shared-base', { codec, memory: 'replicas' }) ?? '', /nobody to keep a replica of/)
    assert.equal(sendingFault('pair-gossip', { codec, memory: 'replicas' }), undefined)
  }
})

test('a refusal is one sentence that names both sides', () => {
  assert.equal(
    sendingFault('shared-base', { codec: 'topk', memory: 'none' }),
    'topk does not fit rounds on a shared base: what it drops is lost without an error feedback',
  )
  assert.match(
    sendingFault('pair-gossip', { codec: 'topk', memory: 'decay' }) ?? '',
    /^topk with decay does not fit pair gossip: /,
  )
})

test('parts: what differs between peers is no part of a shared base, what needs all values does not take top-k', () => {
  const fitting = (part: Parameters<typeof partFault>[1], codec: (typeof CODEC_NAMES)[number]): Exchange[] =>
    EXCHANGES.filter((exchange) => partFault(exchange, part, codec) === undefined)
  assert.deepEqual(fitting('nearest-to-own', 'int8'), ['pair-gossip'])
  assert.deepEqual(fitting('eager', 'int8'), ['pair-gossip'])
  assert.deepEqual(fitting('seeded-scalars', 'float32'), ['shared-base'])
  assert.deepEqual(fitting('median-norm-clip', 'topk'), EXCHANGES)
  assert.deepEqual(fitting('interval-weights', 'topk'), EXCHANGES)
  assert.deepEqual(fitting('coordinate-median', 'int8'), EXCHANGES)
  assert.deepEqual(fitting('coordinate-median', 'topk'), [])
  assert.match(partFault('shared-base', 'trimmed-mean', 'topk') ?? '', /does not fit topk: it needs all values/)
})
