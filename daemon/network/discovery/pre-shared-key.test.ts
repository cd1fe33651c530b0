import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { isProof, PROOF_LENGTH, parseKey, proofOf } from './pre-shared-key.ts'

const key = new Uint8Array(32).fill(7)

test('a proof holds for its key, its run and its two peers in their order, and for nothing else', () => {
  const proof = proofOf(key, 'run', 'alice', 'bob')
  assert.equal(proof.length, PROOF_LENGTH)
  assert.ok(isProof(proof, key, 'run', 'alice', 'bob'))
  assert.ok(!isProof(proof, new Uint8Array(32).fill(8), 'run', 'alice', 'bob'))
  assert.ok(!isProof(proof, key, 'other', 'alice', 'bob'))
  assert.ok(!isProof(proof, key, 'run', 'bob', 'alice'))
  assert.ok(!isProof(proof, key, 'run', 'alice', 'carol'))
  for (const wrong of ['', 'x', `${proof}=`, proof.slice(1)]) assert.ok(!isProof(wrong, key, 'run', 'alice', 'bob'))
})

test('a key is read from 64 digits, and an error does not repeat what the file holds', () => {
  const digits = randomBytes(32).toString('hex')
  assert.equal(Buffer.from(parseKey(`${digits.toUpperCase()}\n`, 'run.key')).toString('hex'), digits)
  for (const text of ['', 'secret', digits.slice(2), `${digits}00`, digits.replace(/.$/, 'g')]) {
    assert.throws(
      () => parseKey(text, 'run.key'),
      (error: Error) => error.message.startsWith('run.key holds no key') && !error.message.includes(text || '\0'),
    )
  }
})
