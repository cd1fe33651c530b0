import '../shims.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { callApi, readEndpoint } from '../api/index.ts'
import { quietLog } from '../log/index.ts'
import { type BootstrapReport, startBootstrap } from './index.ts'

test('a bootstrap node keeps its name, tells that it is well, and leaves nothing running or locked', async (t) => {
  const dataFolder = mkdtempSync(join(tmpdir(), 'starling-bootstrap-'))
  t.after(() => rmSync(dataFolder, { recursive: true }))
  const api = { host: '127.0.0.1', port: 0 }
  const options = { dataFolder, listen: ['/ip4/127.0.0.1/tcp/0'], api }
  const first = await startBootstrap(options, quietLog)
  t.after(() => first.stop())
  const [address = ''] = first.addresses()
  assert.ok(address.endsWith(`/p2p/${first.peer}`))
  assert.deepEqual(await (await fetch(`${first.url}health`)).json(), { ok: true })
  const metrics = await (await fetch(`${first.url}metrics`)).text()
  assert.match(metrics, /^starling_bootstrap_runs 0$/m)
  assert.match(metrics, /^starling_bootstrap_relay_reservations 0$/m)

  await assert.rejects(startBootstrap(options, quietLog), { code: 'data-folder-in-use' })
  const elsewhere = { ...options, dataFolder: join(dataFolder, 'other') }
  const taken = { ...elsewhere, listen: [address.replace(/\/p2p\/.*/, '')] }
  await assert.rejects(startBootstrap(taken, quietLog), { code: 'listen-failed' })
  const busy = { ...elsewhere, api: { ...api, port: Number(new URL(first.url).port) } }
  await assert.rejects(startBootstrap(busy, quietLog), { code: 'port-in-use' })

  await first.stop()
  const again = await startBootstrap(options, quietLog)
  t.after(() => again.stop())
  assert.equal(again.peer, first.peer)
})

test('a bootstrap node is found by its folder, tells its owner what it serves, and is stopped by nobody else', async (t) => {
  const dataFolder = mkdtempSync(join(tmpdir(), 'starling-bootstrap-'))
  t.after(() => rmSync(dataFolder, { recursive: true }))
  const api = { host: '0.0.0.0', port: 0 }
  const node = await startBootstrap({ dataFolder, listen: ['/ip4/127.0.0.1/tcp/0'], api }, quietLog)
  t.after(() => node.stop())
  const place = readEndpoint(dataFolder)
  assert.ok(place?.token !== undefined)
  const report = await callApi<BootstrapReport>(place, 'GET', 'api/status')
  assert.deepEqual([report.role, report.peer, report.registry.runs], ['bootstrap', node.peer, 0])
  await assert.rejects(callApi(place, 'GET', 'api/peers'), { code: 'no-run' })

  const stranger = { url: place.url }
  assert.equal((await fetch(`${place.url}health`)).status, 200)
  await assert.rejects(callApi(stranger, 'GET', 'api/status'), { code: 'token-missing' })
  await assert.rejects(callApi(stranger, 'POST', 'api/stop'), { code: 'token-missing' })
  await callApi(place, 'POST', 'api/stop')
  await node.asked
  await node.stop()
  assert.equal(readEndpoint(dataFolder), undefined)
})
