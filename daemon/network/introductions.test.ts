import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../protocols/index.ts'
import type { AskService } from './ask.ts'
import { type Hello, hello } from './hello.ts'
import { Introductions, type IntroductionsParts } from './introductions.ts'
import type { Ledger } from './ledger.ts'
import { codeOf } from './testing.ts'

const helloOf = (run: string): Hello => ({ run, addresses: [], peers: [] })

/** The introductions of a peer of run 'ours' whose questions are answered by `ask`. */
function introductions(ask: (peer: string) => Promise<Uint8Array>) {
  const rejected: string[] = []
  const calls: string[] = []
  const connected = new Set<string>()
  let answer: ((peer: string, question: Uint8Array) => Uint8Array) | undefined
  const note =
    (what: string) =>
    (peer: string): void =>
      void calls.push(`${what} ${peer}`)
  const made = new Introductions({
    run: 'ours',
    ask: {
      ask,
      answer: (_method: string, answerer: typeof answer) => {
        answer = answerer
      },
    } as unknown as AskService,
    ledger: { reject: (peer: string, reason: string) => rejected.push(`${peer} ${reason}`) } as unknown as Ledger,
    log: { debug() {}, info() {}, warn() {} },
    mine: () => helloOf('ours'),
    isConnected: (peer) => connected.has(peer),
    heard: () => {},
    introduced: note('introduced'),
    departed: note('departed'),
    stranger: note('stranger'),
    silent: note('silent'),
    signal: new AbortController().signal,
  } satisfies IntroductionsParts)
  const hear = (peer: string, run: string): Uint8Array => {
    assert.ok(answer !== undefined)
    return answer(peer, hello.encode(helloOf(run)))
  }
  return { made, rejected, calls, connected, hear }
}

test('a peer of another run that hangs up instead of answering is known by what it asked', async () => {
  const asked = Promise.withResolvers<Uint8Array>()
  const { made, rejected, calls, connected, hear } = introductions(() => asked.promise)
  connected.add('p')
  const begun = made.begin('p')
  assert.throws(() => hear('p', 'theirs'), { code: 'other-run' })
  // It heard why, and closed the connection.
  connected.delete('p')
  made.forget('p')
  asked.reject(new StarlingError('peer-unreachable', 'closed'))
  assert.equal(await begun, false)
  assert.deepEqual([rejected, calls], [['p other-run'], ['stranger p']])
  assert.equal(await codeOf(made.done('p')), 'other-run')
})

test('a peer that asks before it is known to be connected, and then says no more, is asked who it is', async () => {
  const { made, rejected, calls, connected, hear } = introductions(async () => hello.encode(helloOf('theirs')))
  connected.add('p')
  assert.throws(() => hear('p', 'theirs'), { code: 'other-run' })
  assert.equal(await made.begin('p'), false)
  assert.deepEqual([rejected, calls], [['p other-run'], ['stranger p']])
})

test('a peer of our run is introduced once, whoever asks first', async () => {
  const { made, rejected, calls, connected, hear } = introductions(async () => hello.encode(helloOf('ours')))
  connected.add('p')
  assert.equal(hello.decode(hear('p', 'ours')).run, 'ours')
  assert.equal(await made.begin('p'), true)
  made.forget('p')
  assert.deepEqual([rejected, calls], [[], ['introduced p', 'departed p']])
})
