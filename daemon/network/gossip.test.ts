import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startSwarm, until } from './testing.ts'

test('a large message comes to all, is handled once by each, and is not sent by everybody to everybody', async (t) => {
  const nodes = await startSwarm(t, 6)
  const heard = nodes.map(() => 0)
  for (const [i, node] of nodes.entries()) {
    node.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle: () => void heard[i]!++ })
  }
  await until(() => nodes.every((node) => node.subscribers('news').length === 5), 'the subscriptions')
  const bytes = 20_000
  const before = nodes.map((node) => node.counters().wire.sent)
  const messages = 6
  for (let number = 0; number < messages; number++) {
    await nodes[number]!.publish('news', new Uint8Array(bytes).fill(number))
    const told = (i: number): number => number + 1 - (i <= number ? 1 : 0)
    await until(() => heard.every((count, i) => count === told(i)), 'everybody to hear it')
  }
  const sent = nodes.reduce((sum, node, i) => sum + node.counters().wire.sent - before[i]!, 0)
  // Five copies are needed, and without a word of who has it already each message would be sent about 25 times.
  assert.ok(sent < 4 * 5 * messages * bytes, `${(sent / (messages * bytes)).toFixed(1)} copies of each`)
  t.diagnostic(`${(sent / (messages * bytes)).toFixed(1)} copies of each message`)
})
