import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { formatLink, MAX_LINK_PEERS, MAX_LINK_VIA, parseLink, runId } from './index.ts'

const run = runId(new Uint8Array([1, 2, 3]))
const peer = '12D3KooWL3XJ9EMCyZvmmGXL2LMiVBtrVa2BuESsJiXkSj7333Jw'
const address = `/ip4/192.0.2.7/tcp/4001/p2p/${peer}`

const says = (expected: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StarlingError && error.code === 'bad-link')
  assert.match(error.message, expected)
  assert.ok(!error.message.includes('\n'))
  return true
}

test('a link says the run, its peers and its name, and can be read back', () => {
  const link = {
    run,
    peers: [address, `/dns4/example.org/tcp/443/wss/p2p/${peer}`, `/ip6/2001:db8::1/tcp/4001/p2p/${peer}`],
    name: 'stories & more',
  }
  const text = formatLink(link)
  assert.ok(text.startsWith(`starling://${run}?peer=/ip4/192.0.2.7/tcp/4001/p2p/`))
  assert.deepEqual(parseLink(text), link)
  assert.deepEqual(parseLink(`  ${text}\n`), link)
  assert.deepEqual(parseLink(text.replaceAll('/', '%2F').replace('starling:%2F%2F', 'starling://')), link)
  assert.deepEqual(parseLink(`starling://${run}/?peer=${address}`), { run, peers: [address] })
  const many = formatLink({ run, peers: new Array(30).fill(address), via: new Array(9).fill(address) })
  assert.equal(parseLink(many).peers.length, MAX_LINK_PEERS)
  assert.equal(parseLink(many).via?.length, MAX_LINK_VIA)
})

test('a link may name bootstrap nodes and a network beside peers, or instead of them', () => {
  const full = { run, peers: [address], via: [address], network: 'test', name: 'x' }
  assert.deepEqual(parseLink(formatLink(full)), full)
  assert.deepEqual(parseLink(`starling://${run}?via=${address}`), { run, peers: [], via: [address] })
  assert.deepEqual(parseLink(formatLink({ run, peers: [], network: 'amino' })), { run, peers: [], network: 'amino' })
  // On a local network the run's name is enough.
  assert.deepEqual(parseLink(`starling://${run}`), { run, peers: [] })
})

test('what is wrong with a link is said in one line', () => {
  const cases: [string, RegExp][] = [
    ['', /must begin with starling:\/\//],
    [`https://example.org/${run}`, /must begin with/],
    [`starling://?peer=${address}`, /"" does not name a run: it is not a CID/],
    [`starling://nonsense?peer=${address}`, /"nonsense" does not name a run: it is not a CID/],
    [`starling://${run.slice(0, -1)}?peer=${address}`, /is not a CID|does not use/],
    [`starling://QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n?peer=${address}`, /something else than a manifest/],
    ['starling://bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy?peer=x', /something else than a manifest/],
    [`starling://${run.toUpperCase()}?peer=${address}`, /not written in base32|is not a CID/],
    [`starling://${run}?peer=`, /"" lacks the peer's id|"" is not a multiaddr/],
    [`starling://${run}?peer=192.0.2.7:4001`, /"192.0.2.7:4001" is not a multiaddr/],
    [`starling://${run}?peer=/ip4/192.0.2.700/tcp/1/p2p/${peer}`, /not a multiaddr/],
    [`starling://${run}?peer=/ip4/192.0.2.7/tcp/4001`, /lacks the peer's id/],
    [`starling://${run}?peers=${address}`, /"peers" has no place/],
    [`starling://${run}?peer=${address}&name=a&name=b`, /"name" has no place/],
    [`starling://${run}?${`peer=${address}&`.repeat(11)}`, /names 11 peers/],
    [`starling://${run}?${`via=${address}&`.repeat(5)}`, /names 5 bootstrap nodes, more than 4/],
    [`starling://${run}?via=/ip4/192.0.2.7/tcp/4001`, /lacks the peer's id/],
    [`starling://${run}?network=Two+Words`, /"Two Words" is no network's name/],
    [`starling://${run}?network=a&network=b`, /"network" has no place/],
    [`starling://${run}?peer=${'x'.repeat(5000)}`, /characters, more than/],
  ]
  for (const [text, expected] of cases) {
    assert.throws(() => parseLink(text), says(expected), text.slice(0, 80))
  }
  assert.throws(() => formatLink({ run: 'x', peers: [address] }), says(/not a CID/))
})

test('whatever the text, the answer is a link or one line', () => {
  const good = formatLink({ run, peers: [address], name: 'x' })
  const random = seededRandom('link fuzz')
  for (let round = 0; round < 5_000; round++) {
    const text = [...good]
    for (let edits = random.integer(4); edits >= 0; edits--) {
      text.splice(
        random.integer(text.length),
        random.integer(3),
        String.fromCharCode(random.integer(round % 2 === 0 ? 128 : 65_536)),
      )
    }
    try {
      const link = parseLink(text.join(''))
      assert.deepEqual(parseLink(formatLink(link)).peers, link.peers)
    } catch (error) {
      assert.ok(error instanceof StarlingError && error.code === 'bad-link', String(error))
    }
  }
})
