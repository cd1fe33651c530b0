import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
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
})
