import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { list } from 'tar'
import { serveApi } from '../api/index.ts'
import { createFakeNode } from '../api/testing/fake-node.ts'
import { quietLog } from '../log/index.ts'
import { buildRun } from '../run/index.ts'
import { collect, type Part, pack } from './index.ts'
import { createMask } from './mask.ts'

const TOKEN = 'the-token-of-the-api'

describe('the mask', () => {
  it('takes out secrets, folders and texts of users, and leaves what helps', () => {
    const mask = createMask({ folders: [['/srv/run', '<data-folder>']], addresses: false })
    const given = {
      dataFolder: '/srv/run',
      page: `http://127.0.0.1:1/?token=${TOKEN}`,
      apiToken: TOKEN,
      events: [{ kind: 'sample', prompt: 'Dear diary', text: 'a secret', step: 7 }],
      listen: ['/ip4/192.0.2.7/tcp/1'],
    }
    const masked = JSON.stringify(mask.value(given))
    for (const gone of ['/srv/run', TOKEN, 'Dear diary', 'a secret']) assert.ok(!masked.includes(gone), masked)
    assert.match(masked, /"step":7/)
    assert.match(masked, /192\.0\.2\.7/)
  })

  it('writes the same stand-in for the same address, and none for this machine', () => {
    const mask = createMask({ folders: [], addresses: true })
    const text = mask.text(
      '/ip4/192.0.2.7/tcp/1 via 198.51.100.1, 192.0.2.7:9 /dns4/host.example/tcp/2 /ip6/2001:db8::1/tcp/3 /ip4/127.0.0.1/tcp/4',
    )
    assert.equal(
      text,
      '/ip4/address-1/tcp/1 via address-2, address-1:9 /dns4/address-3/tcp/2 /ip6/address-4/tcp/3 /ip4/127.0.0.1/tcp/4',
    )
  })
})

describe('a report', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'starling-bundle-test-'))
    writeFileSync(join(folder, 'identity.key'), 'PRIVATEKEYBYTES')
    writeFileSync(join(folder, 'run.cbor'), buildRun({ name: 'reported' }).bytes)
    mkdirSync(join(folder, 'log'))
    const line = { level: 30, msg: 'sample', prompt: 'Dear diary', text: 'a secret', home: homedir() }
    writeFileSync(join(folder, 'log', 'node.log'), `${JSON.stringify(line)}\nnot JSON, in ${homedir()}\n`)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const gather = (place?: { url: string; token: string }): Promise<Part[]> =>
    collect(
      { dataFolder: folder, maskAddresses: true, version: '0.1.0', ...(place === undefined ? {} : { place }) },
      new AbortController().signal,
    )
  const named = (parts: readonly Part[], name: string): string => parts.find((part) => part.name === name)?.text ?? ''

  it('of a running node holds all of it and no secret, in one archive', async () => {
    const node = createFakeNode()
    node.emit({ kind: 'sample', step: 3, prompt: 'Dear diary', text: 'a secret' })
    node.setStatus({ dataFolder: folder, listen: ['/ip4/192.0.2.7/tcp/1'] })
    const server = await serveApi({ host: '127.0.0.1', port: 0, token: TOKEN }, { node, log: quietLog })
    const parts = await gather({ url: server.url, token: TOKEN })
    await server.close()
    const names = parts.map(({ name }) => name).sort()
    assert.deepEqual(names, [
      'about.json',
      'doctor.json',
      'events.jsonl',
      'explain.json',
      'files.txt',
      'log/log-node.log',
      'manifest.json',
      'metrics.txt',
      'peers.json',
      'status.json',
    ])
    const all = parts.map(({ text }) => text).join('\n')
    for (const gone of [TOKEN, 'PRIVATEKEYBYTES', 'Dear diary', 'a secret', folder, homedir(), '192.0.2.7'])
      assert.ok(!all.includes(gone), gone)
    assert.match(named(parts, 'manifest.json'), /"name": "reported"/)
    assert.match(named(parts, 'files.txt'), /identity\.key/)

    const path = join(folder, 'report.tar.gz')
    assert.ok((await pack(parts, path)) > 500)
    const inside: string[] = []
    await list({ file: path, onReadEntry: (entry) => entry.type === 'File' && inside.push(String(entry.path)) })
    assert.deepEqual(
      inside.sort(),
      names.map((name) => `report/${name}`),
    )
    await assert.rejects(pack(parts, path), { code: 'file-exists' })
    assert.ok(readFileSync(path).length > 500, 'what was there is still there')
  })

  it('of a node that does not run says so, and has what lies on disk', async () => {
    const parts = await gather()
    assert.match(named(parts, 'about.json'), /the node does not run/)
    assert.match(named(parts, 'log/log-node.log'), /not JSON, in ~/)
  })
})
