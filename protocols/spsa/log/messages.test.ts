import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../errors.ts'
import { MAX_RECORD_BYTES } from '../../ports.ts'
import { seededRandom } from '../../random.ts'
import type { EquivocationProof } from '../types.ts'
import { MAX_NAME, MAX_STEPS } from './limits.ts'
import {
  ANSWER_BYTES,
  MAX_ANSWER,
  MAX_BATCH,
  MAX_GOSSIP_PROOF,
  news,
  PAGE,
  proofAnswer,
  type SegmentEntry,
  segmentsAnswer,
  syncQuestion,
  versionAnswer,
} from './messages.ts'

const name = (index: number): string => String(index).padStart(MAX_NAME, 'x')
const signature = new Uint8Array(64).fill(7)
const hash = new Uint8Array(32).fill(8)
const proof = (bytes: number): EquivocationProof => ({
  author: name(1),
  step: MAX_STEPS,
  before: hash,
  branches: [
    { bytes: new Uint8Array(bytes).fill(1), signature },
    { bytes: new Uint8Array(bytes).fill(2), signature },
  ],
})

test('the longest of everything fits its message, a question or gossip of 64 KiB, an answer, a record', () => {
  const names = Array.from({ length: PAGE }, (_, index) => name(index))
  const page = names.map((author): [string, number] => [author, MAX_STEPS])
  assert.ok(syncQuestion.encode({ ask: 'segments', wanted: page }).length <= 64 * 1024)
  const versions = page.map(([author, count]): [string, number, Uint8Array] => [author, count, hash.subarray(0, 8)])
  const half = names.slice(PAGE / 2)
  const answer = { equal: false, digest: hash, page: versions.slice(0, PAGE / 2), excluded: half, more: true } as const
  assert.deepEqual(versionAnswer.decode(versionAnswer.encode(answer)), answer)
  versionAnswer.encode({ equal: false, digest: hash, page: versions, excluded: [], more: true })

  const begun = names.map((author, index): SegmentEntry => {
    const length = index < PAGE - 1 ? Math.floor(ANSWER_BYTES / PAGE) : MAX_STEPS
    return [author, 1, new Uint8Array(length).fill(1), signature]
  })
  assert.ok(segmentsAnswer.encode({ segments: begun }).length <= MAX_ANSWER)
  const longest = proof(MAX_STEPS)
  assert.deepEqual(proofAnswer.decode(proofAnswer.encode({ proof: longest })), { proof: longest })
  assert.ok(proofAnswer.encode({ proof: longest }).length <= MAX_RECORD_BYTES)

  const segment = { kind: 'segment', from: MAX_STEPS, bytes: new Uint8Array(MAX_BATCH), signature } as const
  assert.ok(news.encode(segment).length <= 64 * 1024)
  assert.ok(news.encode({ kind: 'proof', proof: proof(MAX_GOSSIP_PROOF / 2) }).length <= 64 * 1024)
})

test('a batch of 16 contributions travels in little more than its signature', () => {
  const bytes = news.encode({ kind: 'segment', from: 50_000, bytes: new Uint8Array(16).fill(3), signature })
  assert.ok(bytes.length <= 130, `${bytes.length} bytes`)
  const compare = syncQuestion.encode({ ask: 'version', digest: hash, after: '' })
  const equal = versionAnswer.encode({ equal: true })
  assert.ok(compare.length + equal.length <= 80, `${compare.length} and ${equal.length} bytes`)
})

test('random, changed and cut bytes are decoded canonically or refused, and never crash', () => {
  const random = seededRandom('spsa messages')
  const entries: [string, number][] = [
    ['a', 3],
    ['b', 70],
  ]
  const samples = [
    [news, { kind: 'segment', from: 3, bytes: hash, signature }],
    [news, { kind: 'proof', proof: proof(3) }],
    [syncQuestion, { ask: 'version', digest: hash, after: 'a' }],
    [syncQuestion, { ask: 'segments', wanted: entries }],
    [syncQuestion, { ask: 'proof', author: 'a' }],
    [versionAnswer, { equal: false, digest: hash, page: [['a', 3, hash.slice(0, 8)]], excluded: ['c'], more: false }],
    [segmentsAnswer, { segments: [['a', 1, hash, signature]] }],
    [proofAnswer, { proof: proof(5) }],
  ] as const
  for (const [type, value] of samples) {
    const message = type as { encode(value: unknown): Uint8Array; decode(bytes: Uint8Array): unknown }
    const good = message.encode(value)
    assert.deepEqual(message.decode(good), value)
    for (let round = 0; round < 400; round++) {
      const bytes = good.slice(0, round % 4 === 0 ? random.integer(good.length) : good.length)
      for (let hit = random.integer(4); hit >= 0 && bytes.length > 0; hit--) {
        bytes[random.integer(bytes.length)] = random.integer(256)
      }
      try {
        assert.deepEqual(message.encode(message.decode(bytes)), bytes)
      } catch (error) {
        assert.ok(error instanceof StarlingError && error.code === 'bad-message', String(error))
      }
    }
  }
})
