import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../protocols/index.ts'
import { chooseNetwork, loadNetwork, parseNetwork, shippedNetworks } from './index.ts'

const fails = (code: string, expected: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StarlingError && error.code === code, String(error))
  assert.match(error.message, expected)
  assert.ok(!error.message.includes('\n'))
  return true
}

test('every network that comes with the program has the name of its file and a way to find peers', () => {
  assert.ok(shippedNetworks().includes('test'))
  for (const name of shippedNetworks()) {
    const network = loadNetwork(name)
    assert.equal(network.name, name)
    assert.ok(network.bootstrap.length > 0 || (network.dht?.bootstrap.length ?? 0) > 0)
  }
})

test("what is wrong with a network's file is said in one line", () => {
  const good = 'version: 1\nname: mine\nbootstrap: [/dns4/a.example/tcp/7400]\n'
  assert.deepEqual(parseNetwork(good, 'mine.yaml').bootstrap, ['/dns4/a.example/tcp/7400'])
  const cases: [string, RegExp][] = [
    [good.replace('bootstrap', 'bootstrp'), /^mine.yaml:3: bootstrp is not a known key; did you mean bootstrap\?/],
    [good.replace('mine', 'My Net'), /^mine.yaml:2: name must be up to 32 small letters/],
    [good.replace('version: 1\n', ''), /^mine.yaml:\d: version (must be|is missing)/],
    [good.replace('/dns4/a.example/tcp/7400', 'a.example:7400'), /^mine.yaml:3: bootstrap.0 must be a multiaddr/],
    [`${good}dht: {protocol: kad}\n`, /^mine.yaml:4: dht.protocol must be a protocol id such as/],
    ['version: 1\nname: mine\n', /^mine.yaml:1: bootstrap is missing: a network has bootstrap nodes, a dht, or both/],
  ]
  for (const [text, expected] of cases)
    assert.throws(() => parseNetwork(text, 'mine.yaml'), fails('bad-network', expected))
})

test('a link decides the network unless the user does, and a link for another network is refused', () => {
  const link = { network: 'test', peers: [] }
  assert.equal(chooseNetwork(undefined, link)?.name, 'test')
  assert.equal(chooseNetwork('test', link)?.name, 'test')
  assert.equal(chooseNetwork('none', link), undefined)
  assert.equal(chooseNetwork(undefined, { peers: [] }), undefined)
  assert.equal(chooseNetwork('amino', { peers: [] })?.name, 'amino')
  assert.throws(() => chooseNetwork('amino', link), fails('other-network', /for network test.*--network says amino/))
  const unknown = { network: 'elsewhere', peers: [] }
  assert.throws(() => chooseNetwork(undefined, unknown), fails('unknown-network', /network elsewhere, which/))
  assert.equal(chooseNetwork(undefined, { ...unknown, via: ['/ip4/192.0.2.1/tcp/1'] }), undefined)
  assert.throws(() => chooseNetwork('no-such', undefined), fails('unknown-network', /none of amino, test, none/))
})
