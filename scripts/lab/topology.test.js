/** The lab's routers do what home routers do. Real namespaces: needs root, iproute2 and iptables, and skips with the reason where it cannot have them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { namespaces, whyNot } from './tools.js'
import { createTopology } from './topology.js'

const skip = whyNot() ?? false

/** Longest wait of a connection that nobody lets through, ms. */
const SILENCE = 700

/** Answers each connection with the address that it came from, until its input ends. */
const SERVER = `
const server = require('node:net').createServer((socket) => socket.end(socket.remoteAddress))
server.listen(9000, '0.0.0.0', () => process.stdout.write('listening'))
process.stdin.resume().on('end', () => process.exit())`

/** What a server at argv[1] answers, or the error's code, or silence. */
const CLIENT = `
const socket = require('node:net').connect(9000, process.argv[1])
socket.setTimeout(Number(process.argv[2]), () => { process.stdout.write('silence'); process.exit() })
socket.on('error', ({ code }) => process.stdout.write(code))
socket.on('data', (text) => process.stdout.write(String(text)))`

let topology
const servers = [] // two

async function serve(host) {
  const child = spawn('ip', ['netns', 'exec', topology.nameOf(host), process.execPath, '-e', SERVER])
  servers.push(child)
  await once(child.stdout, 'data')
}

const connect = (host, address) =>
  topology.inside(host, process.execPath, '-e', CLIENT, address, String(SILENCE)).trim()

before(async () => {
  if (skip !== false) return
  topology = createTopology()
  await Promise.all(['boot', 'a1'].map(serve))
})

after(() => {
  for (const server of servers) server.stdin.end()
  topology?.close()
})

test('a machine behind a router reaches the public net under the address of its router', { skip }, () => {
  assert.equal(connect('b1', topology.addressOf('boot')), topology.seenAs('b1'))
})

test('nobody outside reaches a machine behind a router, its neighbour does', { skip }, () => {
  assert.equal(connect('c1', topology.seenAs('a1')), 'silence')
  assert.equal(connect('a2', topology.addressOf('a1')), topology.addressOf('a2'))
})

test('nothing leads out of the lab', { skip }, () => {
  // Every cable of the public net ends in a namespace of the lab: its peer's namespace has a name.
  const links = JSON.parse(topology.inside('public', 'ip', '-json', 'link'))
  const cables = links.filter(({ ifname }) => ifname.startsWith('to-')).map(({ ifname }) => ifname.slice(3))
  assert.deepEqual(cables.sort(), ['boot', 'c1', 'c2', 'c3', 'c4', 'router-a', 'router-b'])
  assert.equal(links.length, cables.length + 2) // and its bridge, and its loopback
})

test('a cut lets nothing pass until it is healed', { skip }, () => {
  const heal = topology.cut(['c1'], ['boot'])
  assert.equal(connect('c1', topology.addressOf('boot')), 'silence')
  heal()
  assert.equal(connect('c1', topology.addressOf('boot')), topology.addressOf('c1'))
})

test('closing leaves nothing behind', { skip }, () => {
  assert.ok(namespaces().some(({ pid }) => pid === process.pid))
  topology.close()
  assert.ok(namespaces().every(({ pid }) => pid !== process.pid))
})
