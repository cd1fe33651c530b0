import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codecs } from '../codecs/index.ts'
import { seededRandom } from '../random.ts'
import { fragmentMessage } from './messages.ts'
import { gossipOptionsSchema } from './options.ts'
import { FragmentOrder, fragmentPlan, MESSAGE_BYTES } from './plan.ts'
import { differenceMessage } from './replicas/messages.ts'

test('fragments cover the model once, begin at whole blocks, and by default fit into a message with everything beside them', () => {
  const random = seededRandom('plans')
  for (let round = 0; round < 200; round++) {
    const size = 16 * (1 + random.integer(2 ** (4 + random.integer(18))))
    for (const codec of ['int8', 'int8-stochastic', 'float16', 'float32'] as const) {
      const { fragments, largest } = fragmentPlan(size, { codec })
      let at = 0
      for (const [i, { index, start, end, bytes, inline }] of fragments.entries()) {
        assert.equal(index, i)
        assert.equal(start, at)
        assert.ok(end > start && start % codecs[codec].block === 0)
        assert.equal(bytes, codecs[codec].bytes(end - start))
        assert.ok(inline && bytes <= largest)
        at = end
      }
      assert.equal(at, size)
      const longest = { turn: 2 ** 47, step: 2 ** 48, bytes: new Uint8Array(largest) }
      assert.ok(fragmentMessage.encode(longest).byteLength <= MESSAGE_BYTES)
      if (fragments.length > 4) {
        const fewer = fragmentPlan(size, { codec, fragments: Math.ceil(fragments.length / 4) })
        assert.ok(!fewer.fragments[0]!.inline, 'more fragments than are needed')
      }
    }
  }
})

test('each cycle goes through all fragments, and a peer that takes every other turn does so too', () => {
  const plan = fragmentPlan(8 * 256, { codec: 'int8', fragments: 8 })
  const order = new FragmentOrder('run', plan)
  for (let cycle = 0; cycle < 20; cycle++) {
    const seen = Array.from({ length: 8 }, (_, i) => order.at(8 * cycle + i).index)
    assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6, 7])
  }
  const slow = new Set(Array.from({ length: 64 }, (_, i) => order.at(2 * i).index))
  assert.equal(slow.size, 8)
  const other = new FragmentOrder('run', plan)
  assert.ok(Array.from({ length: 100 }, (_, i) => other.at(i).index === order.at(i).index).every(Boolean))
})

test('a difference always fits into one message, and a model that has no such fragments is refused', () => {
  for (const codec of ['topk', 'int4', 'sign'] as const) {
    for (const [size, fragments] of [
      [1_000, undefined],
      [3_000_000, undefined],
      [3_000_000, 1],
      [40_000_000, 3],
    ] as const) {
      const plan = fragmentPlan(size, { codec, fragments })
      assert.ok(plan.fragments.every(({ inline }) => inline))
      assert.equal(plan.fragments.at(-1)!.end, size)
      const longest = { turn: 2 ** 47, step: 2 ** 48, generation: 2 ** 48, sequence: 2 ** 48, energy: 1e300 }
      const bytes = new Uint8Array(plan.largest)
      assert.ok(differenceMessage.encode({ ...longest, bytes }).byteLength <= MESSAGE_BYTES)
    }
  }
  assert.equal(fragmentPlan(1_000_000, { codec: 'topk' }).fragments.length, 1)
  assert.throws(() => fragmentPlan(600_000_000, { codec: 'int4' }), { code: 'bad-option' })
})

test('what models cannot be gossiped through is refused with the reason, at the key that is wrong', () => {
  const fault = (options: Record<string, unknown>): string => {
    const checked = gossipOptionsSchema.safeParse(options)
    assert.ok(!checked.success, JSON.stringify(options))
    return `${checked.error.issues[0]!.path.join('.')}: ${checked.error.issues[0]!.message}`
  }
  for (const codec of ['topk', 'sign', 'int4']) {
    assert.match(fault({ codec, memory: 'none' }), /^memory: \w+ does not fit pair gossip: /)
    assert.ok(gossipOptionsSchema.safeParse({ codec }).success)
    for (const memory of ['decay', 'ef21', 'econtrol']) {
      assert.match(fault({ codec, memory }), /^memory: \w+ with \w+ does not fit pair gossip: .* only replicas let/)
    }
  }
  assert.match(fault({ gamma: 0.1 }), /^gamma: belongs to "memory": "replicas"/)
  assert.match(fault({ neighbours: 4 }), /^neighbours: belongs to "memory": "replicas"/)
  assert.match(fault({ codec: 'topk', gamma: 0.5 }), /^gamma: must be at most 0.05 with topk, or replicas drift apart/)
  assert.match(fault({ codec: 'topk', neighbours: 3 }), /^neighbours: /)
  assert.match(fault({ codec: 'zip' }), /^codec: /)
  assert.ok(gossipOptionsSchema.safeParse({ memory: 'replicas', gamma: 0.9 }).success)
  assert.equal(gossipOptionsSchema.parse({}).interval, 5)
})
