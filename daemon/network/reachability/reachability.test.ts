import '../../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { announced, peerOf } from '../addresses.ts'
import { codeOf, startPair, until } from '../testing.ts'
import { askForDialBack } from './dial-back.ts'
import { OwnAddresses } from './own-addresses.ts'
import { type ReachabilityFacts, reportReachability } from './report.ts'
import { outwardAddresses, WakeWatch } from './wake.ts'

const own = (address: string, more: object = {}): ReachabilityFacts['listening'][0] => ({
  address,
  port: '7400',
  loopback: false,
  private: true,
  ...more,
})

const facts = (given: Partial<ReachabilityFacts>): ReachabilityFacts => ({
  listening: [own('/ip4/10.1.0.7/tcp/7400')],
  addresses: [],
  relays: [],
  askers: 0,
  reached: [],
  seenAt: [],
  relay: true,
  router: undefined,
  ...given,
})

test('a node says whether it can be reached, why not, and what to do', () => {
  const say = (given: Partial<ReachabilityFacts>) => reportReachability(facts(given))
  assert.equal(say({ listening: [own('/ip4/127.0.0.1/tcp/7400', { loopback: true })] }).state, 'local')
  assert.equal(say({}).state, 'unknown')
  const seen = { askers: 1, seenAt: ['44.128.0.2'] }
  const reached = [{ address: '/ip4/44.128.0.2/tcp/7400', private: false }]
  assert.deepEqual(say({ ...seen, reached }), { state: 'reachable', addresses: [], relays: [] })
  const behind = say(seen)
  assert.equal(behind.state, 'private')
  assert.match(behind.reason ?? '', /44\.128\.0\.2.*NAT/)
  assert.match(
    behind.advice ?? '',
    /forward TCP port 7400 of the router to 10\.1\.0\.7 .*--announce \/ip4\/44\.128\.0\.2\/tcp\/7400, or try --upnp; no bootstrap/,
  )
  const asked = (problem: string | undefined) =>
    say({ ...seen, relays: ['R'], router: { forwarded: [], problem } }).advice ?? ''
  assert.match(asked(undefined), /tcp\/7400; until then a relay carries/)
  assert.match(asked('no router answers'), /tcp\/7400 \(--upnp does not help: no router answers\); until then/)
  const walled = say({ listening: [own('/ip4/44.128.0.2/tcp/7400')], ...seen })
  assert.match(walled.reason ?? '', /firewall/)
  assert.match(say({ listening: [] }).reason ?? '', /listens on no address/)
})

test('a peer is asked to dial back, and dials nobody but who asks', async (t) => {
  const [a, b] = await startPair(t)
  const mine = a.addresses()[0] as string
  const wrong = mine.replace(/\/tcp\/\d+/, '/tcp/1')
  const elsewhere = mine.replace('127.0.0.1', '127.0.0.2')
  const told = await askForDialBack(a.asks, b.self, [mine, wrong, elsewhere])
  assert.deepEqual(told, { seenAt: '127.0.0.1', tried: [mine, wrong], reached: [mine] })
  await until(() => a.host.getConnections().length <= 2, 'the second connection to be closed again')
  const codes = await Promise.all(
    Array.from({ length: 4 }, () => codeOf(askForDialBack(a.asks, b.self, []))).map((one) =>
      one.catch(() => 'answered'),
    ),
  )
  assert.ok(codes.includes('rate-limited'), codes.join())
})

test('AutoNAT dials anew: what it closes afterwards is never the connection that the question came over', async () => {
  const connectionManager = {
    openConnection: async (_peer: string, options?: { force?: boolean }) =>
      options?.force === true ? 'a new connection' : 'the open one',
  }
  const { connectionManager: given } = new OwnAddresses().watched({ connectionManager, addressManager: {} })
  assert.equal(await given.openConnection('somebody', {}), 'a new connection')
})

test('addresses are told the most useful first, loopback only where there is nothing else', () => {
  const self = '12D3KooWALEortkfsvWMR9C4GEzQcpAv74uqubSmoDgVjs1vPxB5'
  const relay = '12D3KooWP9z6u12x3tBKYJ7bswCj6drjXrXAWwXwscPeJbEECFVL'
  const through = (host: string): string => `/ip4/${host}/tcp/7400/p2p/${relay}/p2p-circuit/p2p/${self}`
  const all = [
    '/ip4/127.0.0.1/tcp/1',
    '/ip4/10.0.0.1/tcp/1',
    through('44.128.0.1'),
    through('44.128.0.2'),
    through('44.128.0.3'),
    '/ip4/44.128.0.9/tcp/1',
  ]
  assert.deepEqual(announced(all.map((text) => multiaddr(text))), [
    '/ip4/44.128.0.9/tcp/1',
    through('44.128.0.1'),
    through('44.128.0.2'),
    '/ip4/10.0.0.1/tcp/1',
  ])
  assert.deepEqual(announced([multiaddr('/ip4/127.0.0.1/tcp/1')]), ['/ip4/127.0.0.1/tcp/1'])
  assert.deepEqual(
    [peerOf(multiaddr(through('44.128.0.1'))), peerOf(multiaddr(`/p2p/${relay}/p2p-circuit`))],
    [self, undefined],
  )
})

test('sleep, a set clock and another network are noticed once, a busy process is not', () => {
  const now = { wall: 0, monotonic: 0 }
  let addresses = '10.0.0.1'
  const watch = new WakeWatch({ wall: () => now.wall, monotonic: () => now.monotonic }, () => addresses)
  const pass = (wall: number, monotonic = wall) => {
    now.wall += wall
    now.monotonic += monotonic
    return watch.look()
  }
  assert.deepEqual([pass(1_000), pass(9_000), pass(20_000, 0), pass(1_000)], [undefined, undefined, 'slept', undefined])
  assert.deepEqual([pass(3_600_000), pass(1_000), pass(-3_600_000, 1_000)], ['slept', undefined, undefined])
  addresses = '192.168.1.5'
  assert.deepEqual([pass(1_000), pass(1_000)], ['moved', undefined])
})

test('a container that the machine starts is no move to another network', () => {
  const at = (address: string, internal = false) => [
    { address, internal, netmask: '', mac: '', cidr: null, family: 'IPv6' as const, scopeid: 0 },
  ]
  const before = { lo: at('::1', true), eth0: at('2001:db8::7') }
  const after = { ...before, veth3f2: at('fe80::42:acff:fe11:2'), usb0: at('169.254.3.4') }
  assert.equal(outwardAddresses(after), outwardAddresses(before))
  assert.notEqual(outwardAddresses({ ...before, eth0: at('2001:db8::8') }), outwardAddresses(before))
})
