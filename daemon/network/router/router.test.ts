import '../../shims.ts'
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { type Clock, StarlingError, seededRandom } from '../../../protocols/index.ts'
import { codeOf, until } from '../testing.ts'
import type { NetworkLog } from '../types.ts'
import { gatewaysIn } from './gateway.ts'
import { natPmpRouter } from './nat-pmp.ts'
import { type Forwarded, PortForwarding } from './port-forwarding.ts'
import { locationIn } from './ssdp.ts'
import type { Router } from './types.ts'
import { serviceIn, upnpRouter } from './upnp.ts'

const HERE = '127.0.0.1'

/** A router that speaks NAT-PMP, loses the first datagram, and forwards port p as p + 1. */
async function startPmp(t: TestContext, result = 0): Promise<{ port: number; asked: string[] }> {
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  const asked: string[] = []
  let lost = false
  socket.on('message', (question, from) => {
    if (!lost) {
      lost = true
      return
    }
    asked.push(question.toString('hex'))
    const answer = Buffer.alloc(question[1] === 0 ? 12 : 16)
    answer[1] = 128 + (question[1] as number)
    answer.writeUInt16BE(result, 2)
    if (question[1] === 0) answer.set([44, 128, 0, 2], 8)
    else {
      answer.writeUInt16BE(question.readUInt16BE(4), 8)
      answer.writeUInt16BE(question.readUInt16BE(6) + 1, 10)
    }
    socket.send(Buffer.from([0, 129, 0, 0]), from.port, from.address) // the answer to another question
    socket.send(answer, from.port, from.address)
  })
  socket.bind(0, HERE)
  await once(socket, 'listening')
  return { port: socket.address().port, asked }
}

test('NAT-PMP: a lost question is asked again, ports are forwarded and given back, and a refusal has its reason', async (t) => {
  const { port, asked } = await startPmp(t)
  const router = await natPmpRouter(HERE, port)
  t.after(() => router.close())
  assert.equal(router.localHost, HERE)
  assert.equal(await router.externalHost(t.signal), '44.128.0.2')
  assert.equal(await router.map(7400, 7400, 3_600, t.signal), 7401)
  await router.unmap(7400, 7401, t.signal)
  assert.deepEqual(asked, ['0000', '000200001ce81ce800000e10', '000200001ce8000000000000'])

  const closed = await startPmp(t, 2)
  const refusing = await natPmpRouter(HERE, closed.port)
  t.after(() => refusing.close())
  await assert.rejects(refusing.externalHost(t.signal), {
    code: 'router-refused',
    message: `the router at ${HERE} refuses (NAT-PMP): forwarding is switched off`,
  })
  const nobody = await natPmpRouter(HERE, 9)
  t.after(() => nobody.close())
  assert.equal(await codeOf(nobody.externalHost(t.signal)), 'router-silent')
})

const describe = (control: string): string => `<?xml version="1.0"?><root><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>${control}</controlURL></service>
</serviceList></device></root>`

test('UPnP: ports are forwarded for this machine, another one when somebody has that already, and an error has its words', async (t) => {
  const asked: { action: string; fields: Record<string, string> }[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    if (request.url === '/root.xml') {
      response.end(describe('/control'))
      return
    }
    const action = /#(\w+)"$/.exec(String(request.headers.soapaction))?.[1] ?? ''
    const fields = Object.fromEntries([...body.matchAll(/<(New\w+)>([^<]*)</g)].map(([, name, value]) => [name, value]))
    asked.push({ action, fields })
    const error = (code: number, text: string): void => {
      response.statusCode = 500
      response.end(`<e><errorCode>${code}</errorCode><errorDescription>${text}</errorDescription></e>`)
    }
    if (action === 'GetExternalIPAddress') response.end('<NewExternalIPAddress>44.128.0.2</NewExternalIPAddress>')
    else if (fields.NewExternalPort === '7400') error(718, 'ConflictInMappingEntry')
    else if (fields.NewLeaseDuration !== '0' && action === 'AddPortMapping') error(725, 'OnlyPermanentLeasesSupported')
    else if (fields.NewExternalPort === '80') error(606, 'Not\u001b authorized')
    else response.end('<ok/>')
  }).listen(0, HERE)
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const location = new URL(`http://${HERE}:${(server.address() as AddressInfo).port}/root.xml`)
  const router = await upnpRouter({ location, localHost: '127.0.0.7' }, t.signal)
  assert.equal(await router.externalHost(t.signal), '44.128.0.2')
  assert.equal(await router.map(7400, 7400, 3_600, t.signal), 7401)
  assert.deepEqual(
    asked
      .slice(1)
      .map(({ fields }) => `${fields.NewInternalClient} ${fields.NewExternalPort} ${fields.NewLeaseDuration}`),
    ['127.0.0.7 7400 3600', '127.0.0.7 7401 3600', '127.0.0.7 7401 0'],
  )
  await router.unmap(7400, 7401, t.signal)
  assert.equal(asked.at(-1)?.action, 'DeletePortMapping')
  await assert.rejects(router.map(80, 80, 3_600, t.signal), {
    code: 'router-refused',
    message: `the router at ${HERE} refuses (UPnP): Not? authorized (606)`,
  })
})

test('nobody but who answered is asked: other hosts in answers and descriptions are left out', () => {
  const from = { address: '10.1.0.1' }
  const answer = (location: string, device = 'InternetGatewayDevice:2'): Buffer =>
    Buffer.from(`HTTP/1.1 200 OK\r\nLocation: ${location}\r\nST: urn:schemas-upnp-org:device:${device}\r\n\r\n`)
  assert.equal(locationIn(answer('http://10.1.0.1:5000/x.xml'), from)?.href, 'http://10.1.0.1:5000/x.xml')
  for (const bad of ['http://10.1.0.9/x.xml', 'https://10.1.0.1/', 'file:///etc/passwd', 'nonsense'])
    assert.equal(locationIn(answer(bad), from), undefined, bad)
  assert.equal(locationIn(answer('http://10.1.0.1/', 'MediaServer:1'), from), undefined)
  assert.equal(locationIn(Buffer.alloc(100_000), from), undefined)
  const at = new URL('http://10.1.0.1:5000/x.xml')
  assert.equal(serviceIn(describe('/ctl'), at)?.control.href, 'http://10.1.0.1:5000/ctl')
  assert.equal(serviceIn(describe('http://10.1.0.9/ctl'), at), undefined)
  assert.equal(serviceIn('<root/>', at), undefined)
})

test('the default route names the router', () => {
  const table = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt',
    'eth0\t00000000\t0100010A\t0003\t0',
    'eth0\t0000010A\t00000000\t0001\t0',
    'tun0\t00000000\t00000000\t0001\t0',
  ]
  assert.deepEqual(gatewaysIn(table.join('\n')), ['10.1.0.1'])
})

/** A node in a home, and its router. */
function startHome(t: TestContext) {
  const home = {
    now: 0,
    ports: [7400],
    externalHost: '44.128.0.2',
    failure: undefined as StarlingError | undefined,
    found: 0,
    calls: [] as string[],
    warnings: [] as string[],
    announced: [] as string[],
  }
  const answer = <T>(call: string, value: T): T => {
    home.calls.push(call)
    if (home.failure !== undefined) throw home.failure
    return value
  }
  const router: Router = {
    protocol: 'UPnP',
    host: '10.1.0.1',
    localHost: '10.1.0.11',
    externalHost: async () => answer('address', home.externalHost),
    map: async (port) => answer(`map ${port}`, port),
    unmap: async (port) => answer(`unmap ${port}`, undefined),
    close: () => {},
  }
  const text = ({ outsideHost, outsidePort }: Forwarded): string => `${outsideHost}:${outsidePort}`
  const forwarding = new PortForwarding({
    clock: { now: () => home.now } as Clock,
    random: seededRandom(1),
    log: {
      info: () => {},
      debug: () => {},
      warn: (data: { error: string }) => home.warnings.push(data.error),
    } as unknown as NetworkLog,
    listening: () => home.ports.map((port) => multiaddr(`/ip4/10.1.0.11/tcp/${port}`)),
    began: (port) => home.announced.push(text(port)),
    ended: (port) => home.announced.splice(home.announced.indexOf(text(port)), 1),
    find: async () => {
      home.found++
      return { router, externalHost: await router.externalHost(t.signal) }
    },
    signal: t.signal,
  })
  /** Time for one round. */
  const round = async (): Promise<void> => {
    home.now += 20 * 60_000
    const before = home.calls.length
    forwarding.look()
    await until(() => home.calls.length > before, 'a round')
    await new Promise(setImmediate)
  }
  return { home, forwarding, round }
}

test('a forwarded port is kept, follows what is listened on and the address of the router, and is given back', async (t) => {
  const { home, forwarding, round } = startHome(t)
  await round()
  assert.deepEqual(home.announced, ['44.128.0.2:7400'])
  await round()
  assert.deepEqual([home.announced, home.found], [['44.128.0.2:7400'], 1])
  home.externalHost = '44.128.0.9'
  home.ports = [7400, 7500]
  await round()
  assert.deepEqual(home.announced, ['44.128.0.9:7400', '44.128.0.9:7500'])
  home.ports = [7500]
  await round()
  assert.deepEqual(home.announced, ['44.128.0.9:7500'])
  assert.ok(home.calls.includes('unmap 7400'))
  home.failure = new StarlingError('router-silent', 'silent')
  await round()
  assert.deepEqual(home.announced, ['44.128.0.9:7500'], 'silent once')
  await round()
  assert.deepEqual(home.announced, [], 'silent twice')
  home.failure = undefined
  await round()
  assert.deepEqual([home.announced, home.found], [['44.128.0.9:7500'], 2])
  await forwarding.stop()
  assert.equal(home.calls.at(-1), 'unmap 7500')
})

test('what is in the way is told once, and a router that is behind another is no help', async (t) => {
  const { home, forwarding, round } = startHome(t)
  home.failure = new StarlingError('router-silent', 'no router answers')
  await round()
  await round()
  assert.deepEqual(home.warnings, ['no router answers'])
  home.failure = undefined
  home.externalHost = '192.168.7.2'
  await round()
  assert.match(forwarding.report().problem ?? '', /no public address itself \(192\.168\.7\.2\)/)
  assert.deepEqual([home.announced, home.warnings.length], [[], 2])
})
