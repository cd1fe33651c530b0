import '../shims.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { quietLog } from '../log/index.ts'
import { startBootstrap } from './index.ts'

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
