import '../shims.ts'
import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { loadOrCreateIdentity, peerNameOf, verifySignature } from './identity.ts'

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'starling-identity-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

test('a key is made once, kept private, and read again', async (t) => {
  const path = join(await folder(t), 'new', 'data')
  const made = await loadOrCreateIdentity(path)
  assert.equal(made.created, true)
  assert.match(made.peer, /^12D3KooW/)
  assert.equal((await stat(join(path, 'identity.key'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(path), ['identity.key'])
  const read = await loadOrCreateIdentity(path)
  assert.equal(read.created, false)
  assert.equal(read.peer, made.peer)
  assert.equal(peerNameOf(read.key), made.peer)
})

test('several starts at once agree on one key', async (t) => {
  const path = await folder(t)
  const all = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateIdentity(path)))
  assert.equal(new Set(all.map((one) => one.peer)).size, 1)
  assert.equal(all.filter((one) => one.created).length, 1)
  assert.deepEqual(await readdir(path), ['identity.key'])
})

test('a key that others can read is closed to them', async (t) => {
  const path = await folder(t)
  await loadOrCreateIdentity(path)
  await chmod(join(path, 'identity.key'), 0o644)
  await loadOrCreateIdentity(path)
  assert.equal((await stat(join(path, 'identity.key'))).mode & 0o777, 0o600)
})

test('a damaged key is an error that names the file, and stays as it is', async (t) => {
  for (const damage of [
    new Uint8Array(0),
    new Uint8Array(68).fill(9),
    new Uint8Array(2_000),
    Buffer.from('not a key'),
  ]) {
    const path = await folder(t)
    const file = join(path, 'identity.key')
    await writeFile(file, damage)
    await assert.rejects(loadOrCreateIdentity(path), (error: Error & { code: string }) => {
      assert.equal(error.code, 'bad-identity')
      assert.ok(error.message.includes(file))
      return true
    })
    assert.equal((await stat(file)).size, damage.byteLength)
  }
})

test('a signature is of one peer over one message, and nothing malformed passes or throws', async () => {
  const [own, other] = await Promise.all([generateKeyPair('Ed25519'), generateKeyPair('Ed25519')])
  const data = Buffer.from('for a test: 1')
  const signature = await own.sign(data)
  const name = peerNameOf(own)
  assert.equal(signature.byteLength, 64)
  assert.ok(await verifySignature(name, data, signature))
  assert.equal(await verifySignature(peerNameOf(other), data, signature), false)
  assert.equal(await verifySignature(name, Buffer.from('for a test: 2'), signature), false)
  const rsa = peerNameOf(await generateKeyPair('RSA', 2048))
  // The same peer in the spelling of a CID: another name must not pass for a second author.
  const cid = peerIdFromPrivateKey(own).toCID().toString()
  for (const bad of ['', 'x', '1', name.slice(0, -1), `${name}1`, ` ${name}`, rsa, cid, 'Q'.repeat(100_000)])
    assert.equal(await verifySignature(bad, data, signature), false, bad.slice(0, 60))
  for (const bad of [new Uint8Array(0), signature.subarray(1), new Uint8Array(64), new Uint8Array(1_000_000)])
    assert.equal(await verifySignature(name, data, bad), false)
})
