import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { DialScope, inScope } from './dial-scope.ts'
import { startNode } from './testing.ts'

const PUBLIC = '/ip4/44.128.0.7/tcp/1'
const HOME = '/ip4/192.168.1.1/tcp/80'
const SELF = '/ip4/127.0.0.1/tcp/22'

test('a node dials private addresses that strangers name only where it stands itself', () => {
  const may = (own: string[]): string =>
    [PUBLIC, HOME, SELF, '/ip6/::1/tcp/1', '/dns4/peer.example/tcp/1']
      .map((text) =>
        inScope(
          multiaddr(text),
          own.map((one) => multiaddr(one)),
        )
          ? 'y'
          : 'n',
      )
      .join('')
  assert.equal(may([PUBLIC, '/ip4/127.0.0.1/tcp/7400']), 'ynnny')
  assert.equal(may(['/ip4/192.168.1.5/tcp/7400', '/ip4/127.0.0.1/tcp/7400']), 'yynny')
  assert.equal(may(['/ip4/127.0.0.1/tcp/7400']), 'ynyyy')
  assert.equal(may([]), 'ynnny')
})

test('what the user named is dialled, and what is behind it', () => {
  const scope = new DialScope({ listen: [PUBLIC], dialPrivate: undefined, now: () => 0 })
  assert.equal(scope.allows(multiaddr(HOME)), false)
  scope.name(multiaddr(HOME))
  assert.equal(scope.allows(multiaddr(HOME)), true)
  const peer = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'
  assert.equal(scope.allows(multiaddr(`${HOME}/p2p/${peer}/p2p-circuit/p2p/${peer}`)), true)
  assert.equal(scope.allows(multiaddr('/ip4/192.168.1.1/tcp/81')), false)
})

test('whatever part of libp2p dials, a private address of a stranger is refused', async (t) => {
  const victim = await startNode(t)
  const node = await startNode(t, { dialPrivate: false })
  const [address] = victim.addresses()
  await assert.rejects(node.host.dial(multiaddr(address)), /gater|deni|valid/i)
  assert.equal(victim.counters().connections, 0)
  assert.equal(await node.dial(address as string), victim.self)
})
