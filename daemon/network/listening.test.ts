import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { dialFailure } from './dial-failure.ts'
import { listenFailed, parseListen } from './listening.ts'

describe('what is said of addresses', () => {
  it('that no transport listens on: which there are', () => {
    for (const text of ['/ip4/0.0.0.0/tcp/0', '/ip6/::/tcp/7400/ws', '/p2p-circuit', '/webrtc'])
      assert.equal(parseListen(text).toString(), text)
    assert.throws(() => parseListen('/ip4/127.0.0.1/udp/1'), { code: 'bad-address', message: /has to be TCP/ })
    assert.throws(() => parseListen('nowhere'), { code: 'bad-address', message: /no multiaddr/ })
  })

  it('that cannot be listened on: one line with the reason', () => {
    const inside = new Error('Some addresses failed:\n/ip4/..: Error: listen EADDRINUSE: address already in use')
    assert.match(
      listenFailed(['/ip4/127.0.0.1/tcp/1'], inside).message,
      /^cannot listen on .*tcp\/1: another program has that port; [^\n]*$/,
    )
    assert.doesNotMatch(listenFailed([], new Error('two\n  lines')).message, /\n/)
  })

  it('that nobody answers at: the innermost reason that is known, else the words as they are', () => {
    const refused = Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' })
    assert.equal(
      dialFailure(new AggregateError([new Error('x', { cause: refused })], 'all failed')),
      'nobody listens there',
    )
    const late = Object.assign(new Error('the operation was aborted'), { name: 'TimeoutError' })
    assert.equal(dialFailure(late), 'no answer in time')
    const words = 'Payload identity key 12D3KooWa does not match expected remote identity key 12D3KooWb'
    const wrapped = Object.assign(new Error(words), { name: 'EncryptionFailedError' })
    assert.equal(dialFailure(wrapped), 'another peer answers there')
    assert.equal(dialFailure(new Error('some\n thing')), 'some thing')
    assert.equal(dialFailure('odd'), 'odd')
    const knot = new Error('knot')
    knot.cause = knot
    assert.equal(dialFailure(knot), 'knot')
  })
})
