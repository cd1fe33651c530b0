import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createLogFile } from './file.ts'
import { parseLevels } from './levels.ts'
import { createLog, type LogOptions, shortName } from './log.ts'

const PEER = '12D3KooWMTv8z8545rPsrGE6Tt5jSL9rJfZp9mL57SnE6JhzEgur'

function lines(options: Partial<LogOptions>): { log: ReturnType<typeof createLog>; out: string[] } {
  const out: string[] = []
  const destination = { write: (line: string) => out.push(line) }
  return { log: createLog({ format: 'json', level: 'info', destination, colour: false, ...options }), out }
}

describe('log', () => {
  it('writes one JSON object a line, with data beside the message and peer ids shortened', () => {
    const { log, out } = lines({})
    log.child('network').info('connected', { remote: PEER, addresses: [`/ip4/192.0.2.1/tcp/1/p2p/${PEER}`] })
    const line = JSON.parse(out[0] as string)
    assert.equal(line.msg, 'connected')
    assert.equal(line.module, 'network')
    assert.equal(line.remote, shortName(PEER))
    assert.deepEqual(line.addresses, [`/ip4/192.0.2.1/tcp/1/p2p/${shortName(PEER)}`])
  })

  it('writes lines for people, with stacks only where someone debugs', () => {
    const { log, out } = lines({ format: 'human' })
    log.warn('it broke', { what: 'x' }, new Error('because'))
    assert.match(out[0] as string, /WARN.*it broke.*because/)
    assert.ok(!(out[0] as string).includes('at '))
    const { log: debugging, out: more } = lines({ level: 'debug' })
    debugging.warn('it broke', {}, new Error('because'))
    assert.match(JSON.parse(more[0] as string).stack, /log\.test/)
  })

  it('has a level for each module', () => {
    const { log, out } = lines({ level: 'warn', levels: { trainer: 'debug' } })
    log.info('no')
    log.child('api').info('no')
    log.child('trainer').debug('yes')
    assert.equal(out.length, 1)
  })

  it('keeps secrets out, whatever carries them', () => {
    const { log, out } = lines({})
    const nested = { options: { apiToken: 'hush', port: 1 } }
    log.info('asked', { token: 'hush', url: 'http://127.0.0.1:1/?token=hush&x=1', nested })
    log.warn('failed', {}, new Error('sent Bearer hush and starling_token=hush; to http://me:hush@host/'))
    assert.ok(!out.join('').includes('hush'), out.join(''))
    assert.equal(JSON.parse(out[0] as string).nested.options.port, 1)
  })

  it('reads levels: one for all, others for modules, and says what is allowed', () => {
    assert.deepEqual(parseLevels('info'), { level: 'info', levels: {} })
    assert.deepEqual(parseLevels('info, network=debug,api=error'), {
      level: 'info',
      levels: { network: 'debug', api: 'error' },
    })
    assert.deepEqual(parseLevels('trainer=debug'), { level: 'warn', levels: { trainer: 'debug' } })
    assert.throws(() => parseLevels('loud'), /loud is none; there are silent, error/)
    assert.throws(() => parseLevels('info,netwrok=debug'), /netwrok is no module; there are api, network, trainer/)
  })
})

describe('the log on disk', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'starling-log-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const never = (error: Error): void => assert.fail(error)
  const logged = (path: string): number[] =>
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).n)

  it('keeps what was logged before and after it was opened, at info where less is shown, private to its owner', async () => {
    const file = createLogFile()
    const { log, out } = lines({ level: 'error', file })
    log.info('before', { n: 1 })
    const path = join(folder, 'log', 'node.log')
    file.open(path, never)
    log.child('network').info('after', { n: 2 })
    log.debug('too much', { n: 3 })
    await file.close()
    assert.deepEqual([logged(path), out], [[1, 2], []])
    assert.equal(statSync(path).mode & 0o077, 0)
  })

  it('stays within two files of the given size', async () => {
    const path = join(folder, 'small.log')
    for (let n = 0; n < 40; n++) {
      const file = createLogFile(1_000)
      file.open(path, never)
      file.write(`${JSON.stringify({ n, text: 'x'.repeat(100) })}\n`)
      await file.close()
    }
    assert.ok(statSync(path).size <= 1_000 && statSync(`${path}.1`).size <= 1_000)
    assert.deepEqual(logged(path).at(-1), 39)
  })

  it('says once that the disk takes nothing, and how many lines that cost when it does again', async () => {
    const path = join(folder, 'blocked')
    const inside = join(path, 'node.log')
    writeFileSync(path, 'a file where the folder should be')
    const errors: Error[] = []
    const file = createLogFile()
    file.open(inside, (error) => errors.push(error))
    file.write('{"n":1}\n')
    file.write('{"n":2}\n')
    await file.close()
    assert.equal(errors.length, 1)
    rmSync(path)
    file.open(inside, never)
    file.write('{"n":3}\n')
    await file.close()
    const text = readFileSync(inside, 'utf8')
    assert.match(text, /"n":3/)
    assert.match(text, /"dropped":2/)
  })
})
