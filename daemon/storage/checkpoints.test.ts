import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../protocols/index.ts'
import { type Log, quietLog } from '../log/index.ts'
import { loadCheckpoint, openCheckpoints, readCheckpointManifest, readTensors, writeCheckpoint } from './index.ts'
import { stateOf } from './testing/state.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-checkpoints-'))
})
after(() => rm(folder, { recursive: true, force: true }))

/** A log that keeps its warnings. */
function listening(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const log: Log = {
    ...quietLog,
    warn: (message, _context, error) => lines.push(`${message}: ${error instanceof Error ? error.message : ''}`),
    child: () => log,
  }
  return { log, lines }
}

const step = async (path: string): Promise<number> => (await loadCheckpoint(path)).manifest.step

describe('checkpoints', () => {
  it('gives back what was written, in the layout of the vectors', async () => {
    const path = join(folder, 'round-trip')
    const bytes = await writeCheckpoint(path, stateOf(5))
    const { manifest, vectors } = await loadCheckpoint(path)
    assert.equal(manifest.step, 5)
    assert.deepEqual(manifest.progress, { round: 10 })
    const theta = vectors.theta as Float32Array
    assert.equal(theta[99_999], 5)
    assert.equal(theta[100_010], 0, 'padding stays zero')
    assert.ok((vectors.m as Float32Array).every((value) => value === 5))
    assert.deepEqual(vectors.sums, new Int32Array(5).fill(-5))
    const asFloats = readTensors(path, manifest, (name) => (name === 'sums' ? new Float32Array(5) : undefined))
    await assert.rejects(asFloats, { code: 'checkpoint-corrupt', message: /sums is int32/ })
    assert.ok(bytes > 8 * 299_991 - 100 && bytes < 8 * 300_000 + 2_000)
  })

  it('writes a safetensors file that other programs can read', async () => {
    const path = join(folder, 'safetensors')
    await writeCheckpoint(path, stateOf(3))
    const file = await readFile(join(path, 'model.safetensors'))
    const length = Number(file.readBigUInt64LE(0))
    const header = JSON.parse(file.subarray(8, 8 + length).toString())
    assert.deepEqual(header['b.bias'].shape, [7])
    const [start, end] = header['b.bias'].data_offsets
    assert.equal(end - start, 28)
    assert.equal(file.readFloatLE(8 + length + start), 3)
    assert.equal((8 + length) % 64, 0)
  })

  it('keeps the newest three', async () => {
    const checkpoints = openCheckpoints(join(folder, 'three'), quietLog)
    for (let n = 1; n <= 5; n++) await checkpoints.write(stateOf(n))
    assert.deepEqual(await Promise.all((await checkpoints.list()).map(step)), [5, 4, 3])
  })

  it('falls back to the newest one that is whole, and says what it skipped', async () => {
    const { log, lines } = listening()
    const checkpoints = openCheckpoints(join(folder, 'damage'), log)
    for (let n = 1; n <= 3; n++) await checkpoints.write(stateOf(n))
    const [newest, second] = (await checkpoints.list()) as [string, string]
    const file = await open(join(newest, 'state.safetensors'), 'r+')
    await file.write(Uint8Array.of(1), 0, 1, 500_000)
    await file.close()
    await truncate(join(second, 'model.safetensors'), 1_000)
    assert.equal(await checkpoints.newest(step), 1)
    assert.equal(lines.length, 2)
    assert.match(lines[0] as string, /m in state\.safetensors does not fit its hash/)
    assert.match(lines[1] as string, /model\.safetensors has 1000 bytes instead of/)
  })

  it('refuses a manifest that was changed, cut or is not one', async () => {
    const path = join(folder, 'manifest')
    await writeCheckpoint(path, stateOf(4))
    const file = join(path, 'manifest.json')
    const text = await readFile(file, 'utf8')
    for (const damaged of [text.replace('"round":8', '"round":9'), text.slice(0, -10), '{}', '[]', '']) {
      await writeFile(file, damaged)
      await assert.rejects(readCheckpointManifest(path), { code: 'checkpoint-corrupt' })
    }
    await assert.rejects(readCheckpointManifest(folder), { code: 'checkpoint-missing' })
  })

  it('refuses one of a newer version instead of going back to an older one', async () => {
    const checkpoints = openCheckpoints(join(folder, 'newer'), quietLog)
    await checkpoints.write(stateOf(1))
    const { path } = await checkpoints.write(stateOf(2))
    const manifest = join(path, 'manifest.json')
    await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('"version":1', '"version":2'))
    await assert.rejects(checkpoints.newest(step), { code: 'checkpoint-newer', message: /newer Starling \(version 2/ })
  })

  it('says so when there are checkpoints and none is whole', async () => {
    const checkpoints = openCheckpoints(join(folder, 'all-bad'), quietLog)
    await checkpoints.write(stateOf(1))
    await truncate(join((await checkpoints.list())[0] as string, 'model.safetensors'), 10)
    await assert.rejects(checkpoints.newest(step), { code: 'checkpoint-corrupt' })
    assert.equal(await openCheckpoints(join(folder, 'none'), quietLog).newest(step), undefined)
  })

  it('leaves nothing behind when it is aborted', async () => {
    const path = join(folder, 'aborted', 'x')
    await assert.rejects(writeCheckpoint(path, stateOf(1), AbortSignal.abort(new Error('enough'))), /enough/)
    assert.deepEqual(await readdir(join(folder, 'aborted')), [])
  })

  it('has a whole newest checkpoint after kill -9 at any of 20 moments', { timeout: 60_000 }, async () => {
    const place = join(folder, 'killed')
    const random = seededRandom('kill')
    const checkpoints = openCheckpoints(place, quietLog)
    let reached = 0
    for (let kill = 0; kill < 20; kill++) {
      const writer = spawn(
        process.execPath,
        [fileURLToPath(new URL('./testing/endless-writer.js', import.meta.url)), place, String(reached)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      let written = reached
      let waiting: (() => void) | undefined
      writer.stdout.setEncoding('utf8').on('data', (text: string) => {
        written = Number(text.trim().split('\n').at(-1))
        waiting?.()
      })
      await new Promise<void>((resolve) => {
        waiting = resolve
      })
      // Somewhere inside the next checkpoint or two; which moment it hits is the point of the test.
      await new Promise((resolve) => setTimeout(resolve, random.uniform() * 30))
      writer.kill('SIGKILL')
      await once(writer, 'close')
      const found = await checkpoints.newest(step)
      assert.ok(found !== undefined && found >= written, `step ${written} was on disk, ${found} is found`)
      reached = found
    }
  })
})
