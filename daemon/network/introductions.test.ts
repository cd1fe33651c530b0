import '../shims.ts'
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import type { Libp2p } from '@libp2p/interface'
import { encode } from 'cborg'
import { StarlingError } from '../../protocols/index.ts'
import { AskService } from './ask.ts'
import { systemClock } from './clock.ts'
import { Counters } from './counters.ts'
import { HELLO, type Hello, hello, PROTOCOL_VERSION } from './hello.ts'
import { Introductions, type IntroductionsParts } from './introductions.ts'
import type { Ledger } from './ledger.ts'
import { codeOf } from './testing.ts'
import type { NetworkLog } from './types.ts'

const SILENT: NetworkLog = { debug() {}, info() {}, warn() {} }

const helloOf = (run: string): Hello => ({ version: PROTOCOL_VERSION, run, addresses: [], peers: [] })

/** The introductions of a peer of run 'ours' whose questions are answered by `ask`. */
function introductions(ask: AskService['ask'], signal = new AbortController().signal) {
  const rejected: string[] = []
  const calls: string[] = []
  const connected = new Set<string>()
  let answer: ((peer: string, question: Uint8Array) => Uint8Array) | undefined
  const note =
    (what: string) =>
    (peer: string): void =>
      void calls.push(`${what} ${peer}`)
  const made = new Introductions({
    self: 'me',
    run: 'ours',
    refusal: () => undefined,
    protocols: async () => [],
    isDhtNode: () => false,
    ask: {
      ask,
      answer: (_method: string, answerer: typeof answer) => {
        answer = answerer
      },
    } as unknown as AskService,
    ledger: { reject: (peer: string, reason: string) => rejected.push(`${peer} ${reason}`) } as unknown as Ledger,
    log: SILENT,
    mine: () => helloOf('ours'),
    isConnected: (peer) => connected.has(peer),
    chosen: () => false,
    heard: () => {},
    introduced: note('introduced'),
    departed: note('departed'),
    stranger: note('stranger'),
    silent: note('silent'),
    signal,
  } satisfies IntroductionsParts)
  const hearBytes = (peer: string, question: Uint8Array): Uint8Array => {
    assert.ok(answer !== undefined)
    return answer(peer, question)
  }
  const hear = (peer: string, run: string): Uint8Array => hearBytes(peer, hello.encode(helloOf(run)))
  return { made, rejected, calls, connected, hear, hearBytes }
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

test('a hello of another version is refused by its number, whatever else it says, in words that fit both ends', async () => {
  const later = encode({ version: 2, swarm: 'ours', novelty: [1, 2] })
  const { made, rejected, calls, connected, hearBytes } = introductions(async () => later)
  connected.add('p')
  const message =
    "peer p speaks version 2 of Starling's protocol and peer me version 1: the older one has to be updated"
  assert.throws(() => hearBytes('p', later), { code: 'other-version', message })
  assert.equal(await made.begin('p'), false)
  assert.deepEqual([rejected, calls], [['p other-version'], ['stranger p']])
  await assert.rejects(made.done('p'), { code: 'other-version', message })
})

test('a peer of our run is introduced once, whoever asks first', async () => {
  const { made, rejected, calls, connected, hear } = introductions(async () => hello.encode(helloOf('ours')))
  connected.add('p')
  assert.equal(hello.decode(hear('p', 'ours')).run, 'ours')
  assert.equal(await made.begin('p'), true)
  made.forget('p')
  assert.deepEqual([rejected, calls], [[], ['introduced p', 'departed p']])
})

test('many introductions at once put no listener each on the signal that all share, and stopping ends them', async () => {
  const names = Array.from({ length: 32 }, (_, index) => `p${index}`)
  // Connected, and never heard of again: streams open when their signal says so, which is never well.
  const newStream = (_protocol: string, { signal }: { signal: AbortSignal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
  const connections = names.map((name) => ({ status: 'open', remotePeer: name, newStream }))
  const host = { getConnections: () => connections, handle: async () => {}, unhandle: async () => {} }
  const ask = new AskService({
    libp2p: host as unknown as Libp2p,
    counters: new Counters(),
    ledger: {} as Ledger,
    clock: systemClock,
    log: SILENT,
    rates: undefined,
    introduced: async () => false,
    introduction: HELLO,
    reach: async () => {},
  })
  const closing = new AbortController()
  const { made, calls, connected } = introductions((...question) => ask.ask(...question), closing.signal)
  for (const name of names) connected.add(name)
  const begun = names.map((name) => made.begin(name))
  assert.equal(getEventListeners(closing.signal, 'abort').length, 0)
  closing.abort()
  await ask.stop()
  assert.deepEqual(new Set(await Promise.all(begun)), new Set([false]))
  assert.deepEqual(calls, [])
})
