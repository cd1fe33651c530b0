import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openDataFolder } from './folder.ts'

let base: string
before(async () => {
  base = await mkdtemp(join(tmpdir(), 'starling-folder-'))
})
after(() => rm(base, { recursive: true, force: true }))

describe('data folder', () => {
  it('belongs to one daemon at a time', async () => {
    const path = join(base, 'one')
    const first = await openDataFolder(path)
    await assert.rejects(openDataFolder(path), { code: 'data-folder-in-use', message: new RegExp(path) })
    await first.close()
    const second = await openDataFolder(path)
    await second.close()
  })

  it('keeps records apart by prefix and across openings', async () => {
    const path = join(base, 'records')
    let folder = await openDataFolder(path)
    await folder.records('strategy').put('a', Uint8Array.of(1))
    await folder.records('network').put('a', Uint8Array.of(2))
    await folder.close()
    folder = await openDataFolder(path)
    assert.deepEqual([...((await folder.records('strategy').get('a')) ?? [])], [1])
    assert.equal(await folder.records('node').get('a'), undefined)
    assert.deepEqual(await folder.records('network').keys('', 10), ['a'])
    await folder.records('network').delete('a')
    assert.equal(await folder.records('network').get('a'), undefined)
    await assert.rejects(folder.records('node').put('x'.repeat(300), Uint8Array.of(1)), { code: 'bad-record' })
    await folder.close()
  })

  it('lists keys by their beginning, sorted, and no more than asked for', async () => {
    const folder = await openDataFolder(join(base, 'keys'))
    const records = folder.records('strategy')
    for (const key of ['log/b', 'log/a', 'log/é', 'lob', 'loh', 'log']) await records.put(key, new Uint8Array(1))
    assert.deepEqual(await records.keys('log/', 10), ['log/a', 'log/b', 'log/é'])
    assert.deepEqual(await records.keys('', 2), ['lob', 'log'])
    assert.deepEqual(await records.keys('x', 2), [])
    await folder.close()
  })

  it('says in one line why a folder cannot be used', async () => {
    const file = join(base, 'file')
    await writeFile(file, 'x')
    await assert.rejects(openDataFolder(file), { code: 'data-folder-unusable' })
  })
})
