import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it } from 'node:test'
import { onInterrupt } from './process.ts'

function setUp() {
  const signals = new EventEmitter()
  const seen: { stops: string[]; exits: number[]; said: string[]; now: number } = {
    stops: [],
    exits: [],
    said: [],
    now: 0,
  }
  const on = {
    on: (signal: string, listener: (signal: NodeJS.Signals) => void) => signals.on(signal, listener),
    off: (signal: string, listener: (signal: NodeJS.Signals) => void) => signals.off(signal, listener),
    exit: (code: number) => void seen.exits.push(code),
    now: () => seen.now,
  }
  const release = onInterrupt(
    (signal) => seen.stops.push(signal),
    (text) => seen.said.push(text),
    { on },
  )
  const send = (signal: NodeJS.Signals, at: number): void => {
    seen.now = at
    signals.emit(signal, signal)
  }
  return { seen, send, release, signals }
}

describe('signals', () => {
  it('that a launcher passes on a moment later are not a second Ctrl-C', () => {
    const { seen, send, release } = setUp()
    send('SIGINT', 5_000)
    send('SIGINT', 5_001)
    send('SIGTERM', 5_400)
    assert.deepEqual([seen.stops, seen.exits], [['SIGINT'], []])
    assert.equal(seen.said.length, 1)
    release()
  })

  it('end the process at once when somebody means it', () => {
    const { seen, send, release } = setUp()
    send('SIGTERM', 0)
    send('SIGTERM', 20)
    send('SIGINT', 2_000)
    assert.deepEqual([seen.stops, seen.exits], [['SIGTERM'], [130]])
    release()
  })

  it('are nobody’s business any more after a release', () => {
    const { send, release, signals, seen } = setUp()
    send('SIGHUP', 0)
    release()
    assert.deepEqual([signals.eventNames(), seen.stops], [[], ['SIGHUP']])
  })
})
