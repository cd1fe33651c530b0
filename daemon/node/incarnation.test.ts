import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { DataFolder } from '../storage/index.ts'
import { nextIncarnation } from './incarnation.ts'

function folderOf(records: Map<string, Uint8Array>): DataFolder {
  const store = {
    get: async (key: string) => records.get(key),
    put: async (key: string, value: Uint8Array) => void records.set(key, value),
  }
  return { records: () => store } as unknown as DataFolder
}

it('grows with every start, where the records were lost and where the clock was set back', async () => {
  const records = new Map<string, Uint8Array>()
  const first = await nextIncarnation(folderOf(records))
  const second = await nextIncarnation(folderOf(records))
  assert.ok(second > first)
  records.clear()
  const ahead = Date.now() + 1e9
  assert.ok((await nextIncarnation(folderOf(records))) >= first)
  records.set('incarnation', new TextEncoder().encode(String(ahead)))
  assert.equal(await nextIncarnation(folderOf(records)), ahead + 1)
})
