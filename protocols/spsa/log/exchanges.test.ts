import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { StarlingError } from '../../errors.ts'
import type { AskOptions, PeerName, Transport } from '../../ports.ts'
import { Exchanges } from './exchanges.ts'
import { createLog } from './log.ts'
import { MemoryRecords, RUN, signed, verify } from './testing/fixtures.ts'

/** Exchanges with peers that answer nothing until told to fail. */
function createScene() {
  const asked: PeerName[] = []
  const ended: string[] = []
  const open = new Map<PeerName, (error: StarlingError) => void>()
  const clock = {
    now: () => 0,
    sleep: (_: number, signal?: AbortSignal) =>
      new Promise<void>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  }
  const transport = {
    self: 'me',
    clock,
    ask: (peer: PeerName, _method: string, _question: Uint8Array, { signal }: AskOptions = {}) => {
      asked.push(peer)
      return new Promise<Uint8Array>((_resolve, reject) => {
        open.set(peer, reject)
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    },
  } as unknown as Transport
  const modules = { records: new MemoryRecords(), sign: async (data: Uint8Array) => signed('me', data), verify, clock }
  const log = createLog({ run: RUN, self: 'me', steps: 10, maxAuthors: 4 }, { ...modules, report: () => {} })
  const exchanges = new Exchanges(
    { transport, log, limits: { steps: 10, maxAuthors: 4 } },
    {
      began: () => {},
      ended: (peer, _brought, error) => ended.push(`${peer} ${error?.code}`),
      fail: (error) => assert.fail(String(error)),
    },
  )
  const fail = async (peer: PeerName): Promise<void> => {
    open.get(peer)?.(new StarlingError('ask-timeout', 'no answer'))
    await turn()
  }
  return { exchanges, asked, ended, fail }
}

test('a few at once, never two with one peer, and so many more wait', async () => {
  const { exchanges, asked, ended, fail } = createScene()
  exchanges.soon('me')
  for (let index = 0; index < 100; index++) {
    exchanges.soon(`p${index}`)
    exchanges.soon(`p${index}`)
  }
  assert.deepEqual(asked, ['p0', 'p1', 'p2', 'p3'])
  await fail('p1')
  // It was wished for again while it was asked; p0 is before it in line, and is still asked.
  assert.deepEqual(asked.slice(4), ['p1'])
  for (let index = 0; index < asked.length; index++) {
    await fail(asked[index]!)
  }
  assert.equal(asked.length, 4 + 64)
  assert.equal(ended.length, asked.length)
  assert.equal(exchanges.running('p0'), undefined)
})

test('stopping ends what is under way and what waits', async () => {
  const { exchanges, asked, ended } = createScene()
  for (let index = 0; index < 10; index++) {
    exchanges.soon(`p${index}`)
  }
  const begun = exchanges.begin('another')
  await exchanges.stop()
  assert.equal(await begun, false)
  exchanges.soon('late')
  assert.deepEqual(asked, ['p0', 'p1', 'p2', 'p3', 'another'])
  assert.deepEqual(new Set(ended.map((text) => text.split(' ')[1])), new Set(['aborted']))
})
