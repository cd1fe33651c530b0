import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddressBook } from './address-book.ts'
import { isPrivateAddress } from './addresses.ts'
import { hello, MAX_ADDRESS_LENGTH, MAX_ADDRESSES, PROTOCOL_VERSION } from './hello.ts'

const PEER = '12D3KooWHdiyMpZdmd72zTEgDBNGAqopA8m9T9pu8PfHWp8c6Vm2'
const OTHER = '12D3KooWNvopYUg699Po8Cq3dLDfqYaTNxsz2aagrcX1NdRtw6vu'

function book(dialsPrivate = true) {
  const state = { now: 0 }
  return {
    state,
    book: new AddressBook({
      self: '12D3',
      now: () => state.now,
      mayDial: (address) => dialsPrivate || !isPrivateAddress(address),
      isConnected: () => false,
    }),
  }
}

test('addresses of strangers are kept only where they can be of use', () => {
  const { book: open } = book()
  assert.equal(open.learn(PEER, ['nonsense', '/ip4/127.0.0.1/tcp/1', `/ip4/192.0.2.1/tcp/2/p2p/${OTHER}`]), true)
  assert.deepEqual(open.addressesOf(PEER), [`/ip4/127.0.0.1/tcp/1/p2p/${PEER}`])
  assert.equal(open.learn(PEER, [`/ip4/127.0.0.1/tcp/1/p2p/${PEER}`]), false)
  assert.equal(open.learn('12D3', ['/ip4/127.0.0.1/tcp/1']), false)
  const { book: closed } = book(false)
  assert.equal(closed.learn(PEER, ['/ip4/127.0.0.1/tcp/1', '/ip4/10.1.2.3/tcp/1', '/ip4/192.168.1.1/tcp/1']), false)
  assert.equal(closed.learn(PEER, ['/ip4/8.8.8.8/tcp/1', '/dns4/host.example/tcp/1']), true)
  assert.equal(closed.addressesOf(PEER).length, 2)
})

test('an address that would be too long for a hello is not kept, or it would spoil every hello of ours', () => {
  const { book: known } = book()
  const long = `/dns4/${'a'.repeat(240)}/tcp/1`
  assert.ok(long.length <= MAX_ADDRESS_LENGTH)
  assert.equal(known.learn(PEER, [long]), false)
  assert.equal(known.learn(PEER, [`/dns4/${'a'.repeat(180)}/tcp/1`]), true)
  const addresses = known.addressesOf(PEER)
  const said = { version: PROTOCOL_VERSION, run: 'r', addresses, peers: [{ peer: PEER, addresses }] }
  assert.equal(hello.decode(hello.encode(said)).peers.length, 1)
})

test('a peer has a bounded number of addresses, the newest', () => {
  const { book: known } = book()
  for (let port = 1; port <= 30; port++) known.learn(PEER, [`/ip4/127.0.0.1/tcp/${port}`])
  assert.equal(known.addressesOf(PEER).length, MAX_ADDRESSES)
  assert.ok(known.addressesOf(PEER).includes(`/ip4/127.0.0.1/tcp/30/p2p/${PEER}`))
})

test('the dead are forgotten, and only they make room', () => {
  const { book: known, state } = book()
  known.learn(PEER, ['/ip4/127.0.0.1/tcp/1'])
  for (let at = 0; at < 2_000; at++) known.learn(`peer-${at}`, ['/ip4/127.0.0.1/tcp/1'])
  assert.ok(known.get(PEER) !== undefined)
  assert.equal(known.get('peer-1999'), undefined)
  state.now = 10_000
  assert.equal(known.due(() => true).length, 512)
  const one = known.get('peer-7')
  assert.ok(one !== undefined)
  known.failed('peer-7', one, 20_000)
  assert.equal(known.due((peer) => peer === 'peer-7').length, 0)
  assert.equal(known.learn(OTHER, ['/ip4/127.0.0.1/tcp/1']), true)
  assert.equal(known.get('peer-7'), undefined)
  const dead = known.get(OTHER)
  assert.ok(dead !== undefined)
  for (let at = 0; at < 8; at++) known.failed(OTHER, dead, 0)
  assert.equal(known.get(OTHER), undefined)
})

test('a peer that was of our run is dialled for hours after it vanished, a hearsay is soon forgotten', () => {
  const { book: open } = book()
  open.learn(PEER, ['/ip4/127.0.0.1/tcp/1'])
  open.learn(OTHER, ['/ip4/127.0.0.1/tcp/2'])
  open.meet(PEER)
  for (let failure = 0; failure < 100; failure++) {
    for (const peer of [PEER, OTHER]) {
      const known = open.get(peer)
      if (known !== undefined) open.failed(peer, known, 0)
    }
  }
  assert.ok(open.get(PEER) !== undefined)
  assert.equal(open.get(OTHER), undefined)
  // It answers at last, and vanishes for good.
  open.meet(PEER)
  for (
    let known = open.get(PEER), failure = 0;
    known !== undefined && failure < 1_000;
    known = open.get(PEER), failure++
  ) {
    open.failed(PEER, known, 0)
  }
  assert.equal(open.get(PEER), undefined)
})
