import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { diskFull } from './disk.ts'
import { openDataFolder } from './folder.ts'
import { FOLDER_FORMAT } from './format.ts'

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

  it('of a newer program is left alone, one without a format is of the first', async () => {
    const path = join(base, 'format')
    await (await openDataFolder(path)).close()
    assert.equal(await readFile(join(path, 'format'), 'utf8'), `${FOLDER_FORMAT}\n`)
    await rm(join(path, 'format'))
    await (await openDataFolder(path)).close()
    assert.equal(await readFile(join(path, 'format'), 'utf8'), `${FOLDER_FORMAT}\n`)

    await writeFile(join(path, 'format'), `${FOLDER_FORMAT + 1}\n`)
    await writeFile(join(path, 'half.writing'), 'not ours to remove')
    await assert.rejects(openDataFolder(path), { code: 'folder-newer', message: /newer Starling \(format 2, this one/ })
    assert.ok((await readdir(path)).includes('half.writing'))
    await writeFile(join(path, 'format'), 'two')
    await assert.rejects(openDataFolder(path), { code: 'data-folder-unusable', message: /should hold its format/ })
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

  it('repairs damaged records, keeps what is whole, and says what was wrong', async () => {
    const path = join(base, 'damaged')
    const keys = Array.from({ length: 40 }, (_, index) => `k${String(index).padStart(2, '0')}`)
    const fill = async (): Promise<void> => {
      await rm(path, { recursive: true, force: true })
      const folder = await openDataFolder(path)
      assert.equal(folder.repaired, undefined)
      for (const key of keys) await folder.records('strategy').put(key, randomBytes(1_000))
      await folder.close()
      // Opening moves what was written from the journal into a table.
      await (await openDataFolder(path)).close()
    }
    const file = async (name: RegExp): Promise<string> => {
      const found = (await readdir(join(path, 'records'))).find((entry) => name.test(entry))
      assert.ok(found !== undefined, String(name))
      return join(path, 'records', found)
    }
    const cases: [string, () => Promise<void>, number][] = [
      ['index cut', async () => truncate(await file(/^MANIFEST-/), 10), 40],
      ['index gone', async () => rm(await file(/^MANIFEST-/)), 40],
      ['pointer gone', async () => rm(await file(/^CURRENT$/)), 40],
      ['pointer empty', async () => truncate(await file(/^CURRENT$/), 0), 40],
      ['table cut', async () => truncate(await file(/\.ldb$/), 5_000), 0],
      ['table gone', async () => rm(await file(/\.ldb$/)), 0],
    ]
    for (const [name, damage, left] of cases) {
      await fill()
      await damage()
      const folder = await openDataFolder(path)
      assert.ok(folder.repaired !== undefined, name)
      assert.equal((await folder.records('strategy').keys('', 100)).length, left, name)
      await folder.records('strategy').put('new', Uint8Array.of(1))
      await folder.close()
      const again = await openDataFolder(path)
      assert.equal(again.repaired, undefined, name)
      assert.deepEqual([...((await again.records('strategy').get('new')) ?? [])], [1], name)
      await again.close()
    }
  })

  it('says in one line why a folder cannot be used', async () => {
    const file = join(base, 'file')
    await writeFile(file, 'x')
    await assert.rejects(openDataFolder(file), { code: 'data-folder-unusable' })
  })

  it('on a full disk says what to do, however deep the reason lies', () => {
    const level = new Error('write failed', { cause: new Error('IO error: x.log: No space left on device') })
    for (const error of [level, Object.assign(new Error('write'), { code: 'ENOSPC' })])
      assert.match(diskFull('/data', error)?.message ?? '', /\/data lies on is full: free some space/)
    assert.equal(diskFull('/data', new Error('IO error: x.log: Input/output error')), undefined)
    assert.equal(diskFull('/data', 'ENOSPC'), undefined)
  })
})
