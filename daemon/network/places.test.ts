import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MultiaddrConnection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { BLAME, MAX_BLAME, PENDING_TIME, Places, placeLimits, sourceOf } from './places.ts'

const LIMITS = placeLimits(48)

function setUp(good: string[] = []) {
  const clock = { time: 0, now: () => clock.time }
  return { clock, places: new Places(LIMITS, clock, (peer) => good.includes(peer)) }
}

/** A connection from an address, as far as its places matter. */
function from(address: string): MultiaddrConnection {
  const target = new EventTarget()
  return Object.assign(target, { remoteAddr: multiaddr(address) }) as unknown as MultiaddrConnection
}

const close = (connection: MultiaddrConnection): void =>
  void (connection as unknown as EventTarget).dispatchEvent(new Event('close'))

/** So many that the same address had let in, each introduced at once. */
function fill(setup: ReturnType<typeof setUp>, address: string, count: number, name: string): MultiaddrConnection[] {
  const { places, clock } = setup
  return Array.from({ length: count }, (_, i) => {
    clock.time += 10_000
    const connection = from(address)
    if (places.arrive(connection) !== undefined) return undefined
    if (places.prove(`${name}-${i}`, connection) !== undefined) {
      close(connection)
      return undefined
    }
    places.settle(`${name}-${i}`)
    return connection
  }).filter((one) => one !== undefined)
}

test('a hundred identities of one address have its places and no more, and a closed one is free again', () => {
  const setup = setUp()
  const theirs = fill(setup, '/ip4/44.128.0.7/tcp/5000', 100, 'fake')
  assert.equal(theirs.length, LIMITS.public.connections)
  // Many peers stand behind a private address, but not all of them.
  assert.equal(fill(setup, '/ip4/192.168.1.7/tcp/5000', 100, 'near').length, LIMITS.strangers - theirs.length)
  assert.equal(fill(setUp(), '/ip4/192.168.1.7/tcp/5000', 100, 'near').length, LIMITS.shared.connections)
  close(theirs[0] as MultiaddrConnection)
  assert.equal(fill(setup, '/ip4/44.128.0.7/tcp/5000', 5, 'more').length, 1)
})

test('who does not say who it is holds few places, and not for long', () => {
  const { places, clock } = setUp()
  const knock = (): string | undefined => {
    const refusal = places.arrive(from('/ip4/44.128.0.7/tcp/5000'))
    return refusal?.reason
  }
  for (let at = 0; at < LIMITS.public.pending; at++) assert.equal(knock(), undefined)
  assert.equal(knock(), 'address-limit')
  assert.equal(places.arrive(from('/ip4/44.128.0.8/tcp/5000')), undefined)
  clock.time += PENDING_TIME
  assert.equal(knock(), undefined)
})

test('connections that come and go are let in at a rate, of one address and of all', () => {
  const { places, clock } = setUp()
  const knock = (address: string): boolean => {
    const connection = from(address)
    const refusal = places.arrive(connection)
    close(connection)
    return refusal === undefined
  }
  const count = (address: (at: number) => string, tries: number): number =>
    Array.from({ length: tries }, (_, at) => knock(address(at))).filter(Boolean).length
  assert.equal(
    count(() => '/ip4/44.128.0.7/tcp/1', 100),
    LIMITS.public.burst,
  )
  clock.time += 10_000
  assert.equal(
    count(() => '/ip4/44.128.0.7/tcp/1', 100),
    10 * LIMITS.public.rate,
  )
  const many = count((at) => `/ip4/44.${at >> 8}.${at & 255}.7/tcp/1`, 2_000)
  assert.ok(many <= LIMITS.total.burst, `${many}`)
})

test('an address pays for a peer that had to be disconnected: newcomers from there wait, who is in stays, other addresses are not concerned', () => {
  for (const [address, elsewhere, limits] of [
    ['/ip4/44.128.0.7/tcp/1', '/ip4/44.128.0.8/tcp/1', LIMITS.public],
    ['/ip4/192.168.1.7/tcp/1', '/ip4/192.168.1.8/tcp/1', LIMITS.shared],
  ] as const) {
    const setup = setUp()
    const { places, clock } = setup
    const friends = fill(setup, address, 2, 'friend')
    clock.time += 60_000
    const reason = (from: MultiaddrConnection): string | undefined => places.arrive(from)?.reason
    const knave = from(address)
    assert.equal(reason(knave), undefined)
    places.prove('knave', knave)
    places.blame('knave')
    close(knave)
    assert.equal(reason(from(address)), 'connection-rate')
    assert.equal(reason(from(elsewhere)), undefined)
    assert.equal(places.size, friends.length + 1)
    // As long as its own connection, those that were paid with and the newcomer's would have taken.
    clock.time += ((1 + BLAME + 1 - limits.burst) / limits.rate) * 1_000
    assert.equal(reason(from(address)), undefined)
  }
})

test('whatever its peers do, an address gets somebody in now and then', () => {
  const { places, clock } = setUp()
  const address = '/ip4/192.168.1.7/tcp/1'
  for (let minute = 0; minute < 5; minute++) {
    const knaves = Array.from({ length: 10 }, () => from(address)).filter((one) => places.arrive(one) === undefined)
    assert.ok(knaves.length > 0, `nobody in minute ${minute}`)
    for (const [at, knave] of knaves.entries()) {
      places.prove(`knave-${minute}-${at}`, knave)
      places.blame(`knave-${minute}-${at}`)
      close(knave)
    }
    assert.equal(places.arrive(from(address))?.reason, 'connection-rate')
    clock.time += MAX_BLAME
  }
})

test('a relay does not pay for a peer that came through it: everybody behind it would wait', () => {
  const { places } = setUp()
  const address = '/ip4/44.128.0.7/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5/p2p-circuit'
  const knave = from(address)
  assert.equal(places.arrive(knave), undefined)
  places.prove('knave', knave)
  places.blame('knave')
  assert.equal(places.arrive(from(address)), undefined)
})

test('places beyond the strangers are kept for peers known to be good', () => {
  const setup = setUp(['friend'])
  const { places, clock } = setup
  for (let at = 0; at < LIMITS.strangers; at++) {
    assert.equal(fill(setup, `/ip4/44.128.1.${at}/tcp/1`, 1, `s${at}`).length, 1)
  }
  clock.time += 60_000
  const late = from('/ip4/44.128.2.1/tcp/1')
  assert.equal(places.arrive(late), undefined)
  assert.equal(places.prove('stranger', late)?.reason, 'no-room')
  const friend = from('/ip4/44.128.2.2/tcp/1')
  assert.equal(places.arrive(friend), undefined)
  assert.equal(places.prove('friend', friend), undefined)
})

test('addresses are told apart as their owners are', () => {
  const address = (text: string): string => sourceOf(multiaddr(text)).address
  assert.equal(address('/ip6/2001:db8:1:2::7/tcp/1'), address('/ip6/2001:db8:1:2:ffff:1:2:3/tcp/9'))
  assert.notEqual(address('/ip6/2001:db8:1:2::7/tcp/1'), address('/ip6/2001:db8:1:3::7/tcp/1'))
  assert.equal(address('/ip6/::ffff:44.128.0.7/tcp/1'), '44.128.0.7')
  const relay = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'
  const relayed = sourceOf(multiaddr(`/ip4/44.128.0.7/tcp/1/p2p/${relay}/p2p-circuit`))
  assert.deepEqual(relayed, { address: `relay ${relay}`, shared: true, relayed: true })
  assert.equal(sourceOf(multiaddr('/ip4/192.168.1.5/tcp/1')).shared, true)
  assert.equal(sourceOf(multiaddr('/ip4/44.128.0.7/tcp/1')).shared, false)
})
