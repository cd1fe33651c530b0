import '../shims.ts'
import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadOrCreateIdentity, peerNameOf } from './identity.ts'

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
