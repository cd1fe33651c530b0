import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { diagnose, type Facts, judge } from './index.ts'

const healthy: Facts = {
  engine: { name: 'native', why: 'native TensorFlow', gflops: 180.4 },
  setup: undefined,
  node: 'v22.12.0',
  platform: 'linux-x64',
  cores: { usable: 2, model: 'A processor' },
  memory: { available: 8e9, total: 16e9, limit: undefined },
  disks: [
    { purpose: 'data', folder: '/data', free: 50e9 },
    { purpose: 'cache', folder: '/cache', free: 50e9 },
  ],
  clock: { now: Date.UTC(2030, 0, 1), built: Date.UTC(2029, 0, 1), drift: 0.0001 },
  ports: [{ purpose: 'page', host: '127.0.0.1', port: 4000 }],
  openFiles: 4096,
  libraries: { libp2p: '3.3.11' },
  tools: undefined,
}

/** The finding of a name, from healthy facts with some of them changed. */
function found(changed: Partial<Facts>, name: string) {
  const finding = judge({ ...healthy, ...changed }).find((diagnosis) => diagnosis.name === name)
  assert.ok(finding, `no finding named ${name}`)
  return finding
}

test('a healthy machine has nothing to mend', () => {
  for (const { name, ok, mend } of judge(healthy)) assert.deepEqual([name, ok, mend], [name, 'ok', undefined])
})

test('whatever is wrong comes with what mends it', () => {
  const broken = judge({
    ...healthy,
    engine: { error: 'Cannot find module' },
    node: 'v18.20.0',
    memory: { available: 1e8, total: 1e9, limit: undefined },
    disks: [{ purpose: 'data', folder: '/data', free: 1e6 }],
    clock: { now: 0, built: 1, drift: 0 },
    ports: [{ purpose: 'page', host: '127.0.0.1', port: 80, error: 'EACCES' }],
    openFiles: 64,
    libraries: { libp2p: undefined },
  })
  for (const { name, ok, mend } of broken) {
    if (name === 'cores') continue
    assert.notEqual(ok, 'ok', name)
    assert.ok(mend, `${name} says what mends it`)
  }
})

test('the engine is shown with its speed', () => {
  assert.equal(found({}, 'engine').value, 'native, 180 GFLOP/s')
})

test('a missing native engine names what it lacks and why set-up went without it', () => {
  const finding = found(
    {
      engine: { name: 'wasm', why: 'WebAssembly', gflops: 12 },
      setup: { engine: 'wasm', why: 'no C++ compiler was found', cache: '/cache' },
      tools: { compiler: false, pip: true },
    },
    'engine',
  )
  assert.equal(finding.ok, 'warning')
  assert.match(finding.detail ?? '', /no C\+\+ compiler was found/)
  assert.equal(finding.mend, 'install a C++ compiler, then: npm run setup')
})

test('where the tools are there, what set-up asked for is what mends the engine', () => {
  const setup = {
    engine: 'wasm',
    why: 'pip: no index',
    mend: 'reach the index, then: npm run setup',
    cache: '/c',
  } as const
  const engine = { name: 'wasm', why: 'WebAssembly', gflops: 12 } as const
  const tools = { compiler: true, pip: true }
  assert.equal(found({ engine, setup, tools }, 'engine').mend, setup.mend)
  assert.equal(found({ engine, setup: undefined, tools }, 'engine').mend, 'npm run setup')
})

test('the cache needs room only while the native engine is missing', () => {
  const disks = [{ purpose: 'cache', folder: '/cache', free: 0.5e9 }]
  assert.equal(found({ disks }, 'disk (cache)').ok, 'ok')
  const engine = { name: 'wasm', why: '', gflops: 12 } as const
  assert.equal(found({ disks, engine }, 'disk (cache)').ok, 'warning')
})

test('a container limit counts as the memory there is, and says how many peers fit', () => {
  const finding = found({ memory: { available: 8e9, total: 16e9, limit: 1.5e9 } }, 'memory')
  assert.deepEqual([finding.ok, finding.mend], ['warning', 'starling swarm --peers 2'])
  const none = found({ memory: { available: 8e9, total: 16e9, limit: 256e6 } }, 'memory')
  assert.deepEqual([none.ok, none.mend], ['problem', 'raise the limit (docker run --memory, MemoryMax=)'])
})

test('Node between the oldest and the newest tested release is judged by both numbers', () => {
  assert.equal(found({ node: 'v20.18.3' }, 'node').ok, 'problem')
  assert.equal(found({ node: 'v20.19.0' }, 'node').ok, 'ok')
  assert.match(found({ node: 'v23.1.0' }, 'node').detail ?? '', /tested releases are/)
})

test('a clock that jumps or lags behind the build is told apart', () => {
  assert.equal(found({ clock: { ...healthy.clock, drift: -0.4 } }, 'clock').ok, 'warning')
  assert.equal(found({ clock: { ...healthy.clock, now: 0 } }, 'clock').ok, 'problem')
})

test('this machine is looked at: a taken port is found, an engine is measured, a folder not made yet has a disk', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    const findings = await diagnose(
      {
        dataFolder: join(tmpdir(), 'starling-doctor-not-made', 'yet'),
        ports: [{ purpose: 'page', host: '127.0.0.1', port: address.port }],
      },
      new AbortController().signal,
    )
    const byName = new Map(findings.map((finding) => [finding.name, finding]))
    assert.equal(byName.get('port (page)')?.detail, 'in use by another program')
    assert.match(byName.get('engine')?.value ?? '', /^(native|wasm|js), \d+ GFLOP\/s$/)
    assert.match(byName.get('disk (data)')?.value ?? '', / GB free$/)
    assert.equal(byName.get('libraries')?.ok, 'ok')
  } finally {
    server.close()
  }
})

test('an aborted check ends with the reason', async () => {
  const reason = new Error('enough')
  await assert.rejects(diagnose({}, AbortSignal.abort(reason)), reason)
  const late = new AbortController()
  setTimeout(() => late.abort(reason), 20)
  await assert.rejects(diagnose({}, late.signal), reason)
})
