import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { locked } from './lock.js'
import { capture, reason } from './process.js'
import { extract } from './zip.js'

const folder = mkdtempSync(join(tmpdir(), 'starling-setup-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A zip archive of files by name; content of an even length is deflated, of an odd one stored. */
function zip(files, comment = '') {
  const locals = []
  const entries = []
  let offset = 0
  for (const [name, content] of Object.entries(files)) {
    const data = Buffer.from(content)
    const method = data.length % 2 === 0 ? 8 : 0
    const packed = method === 8 ? deflateRawSync(data) : data
    const extra = Buffer.alloc(7) // Local and central extra fields differ in length in real archives.
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(method, 8)
    local.writeUInt16LE(Buffer.byteLength(name), 26)
    local.writeUInt16LE(extra.length, 28)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE(method, 10)
    entry.writeUInt32LE(packed.length, 20)
    entry.writeUInt32LE(data.length, 24)
    entry.writeUInt16LE(Buffer.byteLength(name), 28)
    entry.writeUInt32LE(offset, 42)
    locals.push(local, Buffer.from(name), extra, packed)
    entries.push(entry, Buffer.from(name))
    offset += 30 + Buffer.byteLength(name) + extra.length + packed.length
  }
  const listing = Buffer.concat(entries)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Object.keys(files).length, 10)
  end.writeUInt32LE(listing.length, 12)
  end.writeUInt32LE(offset, 16)
  end.writeUInt16LE(comment.length, 20)
  return Buffer.concat([...locals, listing, end, Buffer.from(comment)])
}

test('chosen files of an archive come out whole, stored or deflated, empty or below a folder', async () => {
  const files = { 'a/stored': 'odd', 'a/deflated': 'even'.repeat(1000), empty: '', unwanted: 'no' }
  const archive = join(folder, 'good.zip')
  writeFileSync(archive, zip(files, 'a comment'))
  const out = join(folder, 'out')
  assert.equal(await extract(archive, (name) => (name === 'unwanted' ? undefined : join(out, name))), 3)
  assert.equal(readFileSync(join(out, 'a/stored'), 'utf8'), files['a/stored'])
  assert.equal(readFileSync(join(out, 'a/deflated'), 'utf8'), files['a/deflated'])
  assert.equal(existsSync(join(out, 'unwanted')), false)
})

test('an archive that is cut short or damaged is an error', async () => {
  const whole = zip({ file: 'even'.repeat(100) })
  const place = (name) => join(folder, 'damaged', name)
  const cases = {
    short: whole.subarray(0, whole.length - 30),
    none: Buffer.alloc(0),
    text: Buffer.from('x'.repeat(100)),
  }
  const damaged = Buffer.from(whole)
  damaged.fill(0xff, 45, 50)
  for (const [name, bytes] of Object.entries({ ...cases, damaged })) {
    const archive = join(folder, `${name}.zip`)
    writeFileSync(archive, bytes)
    await assert.rejects(extract(archive, place), Error, name)
  }
})

test('two actions under one lock run one after the other, and an error frees it', async () => {
  const home = join(folder, 'lock')
  const order = []
  const action = (name) => async () => {
    order.push(`${name} begins`)
    await new Promise((resolve) => setImmediate(resolve))
    order.push(`${name} ends`)
  }
  await Promise.all([locked(home, action('a')), locked(home, action('b'))])
  assert.equal(order[0]?.[0], order[1]?.[0])
  assert.equal(order[2]?.[0], order[3]?.[0])
  await assert.rejects(
    locked(home, () => Promise.reject(new Error('broken'))),
    /broken/,
  )
  assert.equal(await locked(home, async () => 'free'), 'free')
})

test('the lock of a process that died, or of a machine that fell silent, is taken over', async () => {
  const home = join(folder, 'abandoned')
  const lock = join(home, 'setup.lock')
  const { stdout } = await capture(process.execPath, ['-p', 'process.pid'], { limit: 30_000 })
  mkdirSync(lock, { recursive: true })
  writeFileSync(join(lock, 'holder.json'), JSON.stringify({ pid: Number(stdout), host: hostname() }))
  assert.equal(await locked(home, async () => 1), 1)
  mkdirSync(lock, { recursive: true })
  writeFileSync(join(lock, 'holder.json'), JSON.stringify({ pid: 1, host: 'another machine' }))
  utimesSync(lock, 0, 0)
  assert.equal(await locked(home, async () => 2), 2)
})

test('a child process is limited in time, and one that cannot be started is an answer', async () => {
  const late = await capture(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { limit: 200 })
  assert.equal(late.code, 124)
  assert.equal((await capture('no-such-program-of-starling', [], { limit: 1000 })).code, 127)
})

test('the reason of a failure is found in what programs say', () => {
  const pip = [
    "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError('<HTTPConnection object>: Failed to establish a new connection: [Errno 111] Connection refused')'",
    'ERROR: No matching distribution found for tensorflow-cpu==1',
  ].join('\n')
  assert.equal(reason(pip), 'Connection refused')
  assert.equal(
    reason('Error: getaddrinfo ENOTFOUND example.org\n    at x (y:1)\n'),
    'getaddrinfo ENOTFOUND example.org',
  )
  assert.equal(reason('a.cc:1:10: fatal error: a.h: No such file or directory\n'), 'a.h: No such file or directory')
  assert.equal(reason(''), 'it said nothing')
})
