import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Key } from 'interface-datastore'
import { BoundedDatastore, MAX_KEY_LENGTH, MAX_VALUE_BYTES } from './datastore.ts'

const value = (byte: number): Uint8Array => Uint8Array.of(byte)

async function keys(store: BoundedDatastore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.query({ prefix })) found.push(key.toString())
  return found
}

test('the oldest record of a kind makes room for a new one, and other kinds are left alone', async () => {
  const store = new BoundedDatastore(2)
  store.put(new Key('/peers/a'), value(1))
  for (const name of ['a', 'b', 'a', 'c']) store.put(new Key(`/dht/provider/${name}`), value(2))
  assert.deepEqual(await keys(store, '/dht'), ['/dht/provider/a', '/dht/provider/c'])
  assert.deepEqual(await keys(store, ''), ['/peers/a', '/dht/provider/a', '/dht/provider/c'])
  assert.throws(() => store.get(new Key('/dht/provider/b')), { name: 'NotFoundError' })
  store.delete(new Key('/peers/a'))
  assert.equal(store.has(new Key('/peers/a')), false)
})

test('records that are too large are refused', () => {
  const store = new BoundedDatastore()
  assert.throws(() => store.put(new Key('/dht/a'), new Uint8Array(MAX_VALUE_BYTES + 1)), { code: 'record-too-large' })
  assert.throws(() => store.put(new Key(`/dht/${'a'.repeat(MAX_KEY_LENGTH)}`), value(0)), { code: 'record-too-large' })
  assert.equal(store.put(new Key('/dht/a'), new Uint8Array(MAX_VALUE_BYTES)).toString(), '/dht/a')
})
