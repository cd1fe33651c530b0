import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { chooseFolder } from './folder.ts'

const home = mkdtempSync(join(tmpdir(), 'starling-folder-'))
after(() => rmSync(home, { recursive: true }))

const record = { run: 'bafy', peers: 3, yaml: 'name: x\n' }

describe('the folder of a swarm', () => {
  it('is a fresh numbered one each time, and the newest one to resume', () => {
    assert.throws(() => chooseFolder({ home, resume: true, name: 'stories' }), { code: 'nothing-to-resume' })
    const first = chooseFolder({ home, resume: false, name: 'stories' })
    assert.equal(first.path, join(home, 'runs', 'stories-1'))
    assert.equal(existsSync(first.path), false)
    first.record(record)
    first.discard()
    assert.equal(existsSync(first.path), false)
    first.record(record)
    const second = chooseFolder({ home, resume: false, name: 'stories' })
    assert.equal(second.path, join(home, 'runs', 'stories-2'))
    second.record({ ...record, peers: 5, data: '/some.txt' })
    const resumed = chooseFolder({ home, resume: true, name: 'whatever' })
    assert.equal(resumed.path, second.path)
    assert.deepEqual(resumed.earlier, { run: 'bafy', peers: 5, data: '/some.txt', yaml: 'name: x\n' })
  })

  it('is not one that holds something else', () => {
    const named = join(home, 'mine')
    mkdirSync(named)
    assert.equal(chooseFolder({ home, named, resume: false, name: 'x' }).path, named)
    writeFileSync(join(named, 'letter.txt'), 'dear')
    assert.throws(() => chooseFolder({ home, named, resume: false, name: 'x' }), { code: 'folder-exists' })
    assert.throws(() => chooseFolder({ home, named, resume: true, name: 'x' }), { code: 'nothing-to-resume' })
  })

  it('is not one on which a swarm runs', () => {
    const named = join(home, 'busy')
    chooseFolder({ home, named, resume: false, name: 'x' }).record(record)
    writeFileSync(
      join(named, 'api.json'),
      JSON.stringify({ url: 'http://127.0.0.1:1/', pid: process.pid, startedAt: 1 }),
    )
    assert.throws(() => chooseFolder({ home, named, resume: true, name: 'x' }), {
      code: 'swarm-running',
      message: /starling stop/,
    })
  })
})
