import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { layoutTensors, writeSafetensors } from '../../models/index.ts'
import { manifestBytes } from '../../protocols/index.ts'
import { quietLog } from '../log/index.ts'
import { loadOrCreateIdentity, type Network } from '../network/index.ts'
import { buildRun, describeWeights, openRun } from '../run/index.ts'
import {
  loadCheckpoint,
  openCheckpoints,
  openDataFolder,
  readCheckpointManifest,
  writeCheckpoint,
} from '../storage/index.ts'
import type { NodeOptions, RunningNode } from '../types.ts'
import { guardProcess } from './guard.ts'
import { joinRun } from './join.ts'
import { startNode } from './node.ts'
import { localOptions } from './testing/options.ts'

let base: string
before(async () => {
  base = await mkdtemp(join(tmpdir(), 'starling-node-'))
})
after(() => rm(base, { recursive: true, force: true }))

const run = buildRun({
  model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 16 },
  data: { source: 'stories', bytes: 20_000, validation: { rows: 8 } },
  training: { batch: 4, steps: 60, evaluateEvery: 20 },
  strategy: { name: 'noloco', innerSteps: 20 },
})

const options = (name: string, more: Partial<NodeOptions> = {}): NodeOptions =>
  localOptions(join(base, name), { manifest: run.bytes, ...more })

const start = (name: string, more: Partial<NodeOptions> = {}): Promise<RunningNode> =>
  startNode(options(name, more), { signal: new AbortController().signal, log: quietLog })

describe('a node', { timeout: 90_000 }, () => {
  it('does not look for itself: a folder that was copied to another machine with its key is told so', async () => {
    const folder = join(base, 'copied')
    await mkdir(folder)
    const { peer } = await loadOrCreateIdentity(folder)
    const { manifest: _, ...joining } = options('copied')
    const link = `starling://${run.id}?peer=/ip4/127.0.0.1/tcp/9/p2p/${peer}`
    const context = { signal: new AbortController().signal, log: quietLog }
    await assert.rejects(startNode({ ...joining, link }, context), { code: 'bad-link', message: /this very peer/ })
  })

  it('trains alone to the end, writes its model, serves its state, and resumes as finished', async () => {
    const node = await start('alone')
    await node.finished
    const status = node.status()
    assert.deepEqual([status.phase, status.step, status.steps, status.members], ['finished', 60, 60, 1])
    assert.ok(status.validationLoss !== null && status.validationLoss < Math.log(256))
    assert.match((await node.metrics()).text, /starling_steps_total 60\n/)
    const final = node.events().find(({ kind }) => kind === 'final')
    assert.ok(final?.kind === 'final' && final.replicas === 1)
    assert.deepEqual(
      node.events(final.sequence - 1).map(({ kind }) => kind),
      ['final'],
    )
    const stopped: string[] = []
    node.onEvent((event) => {
      stopped.push(event.kind)
      // As the command line does: whoever hears of the stop waits for it.
      if (event.kind === 'stopping') void node.stop('again')
    })
    await Promise.all([node.stop('test'), node.stop('twice')])
    assert.equal(stopped.filter((kind) => kind === 'stopping').length, 1)

    // What it found in company earlier is not replaced by what it finds alone.
    const path = join(base, 'alone', 'final')
    const { manifest, vectors } = await loadCheckpoint(path)
    await rm(path, { recursive: true })
    await writeCheckpoint(path, {
      ...manifest,
      config: {},
      layout: run.layout,
      progress: { replicas: 4, deviation: 0.1, loss: 1.5 },
      vectors: { theta: { type: 'float32', data: new Uint8Array((vectors.theta as Float32Array).buffer) } },
    })
    const again = await start('alone', { resume: true })
    await again.finished
    assert.equal(again.status().step, 60)
    const told = again.events().find(({ kind }) => kind === 'final')
    assert.deepEqual(told?.kind === 'final' && [told.replicas, told.loss], [4, 1.5])
    await again.stop('test')
    assert.equal((await readCheckpointManifest(path)).progress.replicas, 4)
  })

  it('starts from the weights of its run, which a joiner gets from it', async () => {
    const vector = new Float32Array(run.layout.length)
    for (const { offset, length } of run.layout.tensors) vector.fill(0.125, offset, offset + length)
    const weightsPath = join(base, 'start.safetensors')
    const { header, views } = writeSafetensors(layoutTensors(run.layout, vector))
    await writeFile(weightsPath, Buffer.concat([header, ...views]))
    const weights = await describeWeights(weightsPath)
    const { bytes } = openRun(manifestBytes({ ...run.manifest, model: { ...run.manifest.model, weights } }))
    const first = await start('weights', { manifest: bytes, local: { weightsPath } })
    const { manifest: _, ...joins } = options('weights-joined', { link: first.status().link })
    const joiner = await startNode(joins, { signal: new AbortController().signal, log: quietLog })
    await Promise.all([first.finished, joiner.finished])
    await Promise.all([first.stop('test'), joiner.stop('test')])
    const copies = ['weights', 'weights-joined'].map((name) => readFile(join(base, name, 'data', weights.root)))
    for (const copy of await Promise.all(copies)) assert.deepEqual(copy, await readFile(weightsPath))

    await writeFile(weightsPath, 'other bytes')
    await assert.rejects(start('weights-other', { manifest: bytes, local: { weightsPath } }), {
      code: 'data-mismatch',
      message: /^model\.weights: .*start\.safetensors is not the file/,
    })
  })

  it('says which checkpoint is damaged when none is whole, and starts anew when not asked to resume, keeping them', async () => {
    const node = await start('damaged')
    await node.finished
    await node.stop('test')
    const checkpoints = openCheckpoints(join(base, 'damaged', 'checkpoints'), quietLog)
    for (const path of await checkpoints.list()) await truncate(join(path, 'model.safetensors'), 100)
    await assert.rejects(start('damaged', { resume: true }), {
      code: 'checkpoint-corrupt',
      message: /model\.safetensors has 100 bytes/,
    })
    const fresh = await start('damaged')
    assert.ok(fresh.status().step <= 60)
    await fresh.stop('test')
  })

  it('leaves nothing running when its start fails', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await assert.rejects(start('port', { api: { host: '127.0.0.1', port } }), { code: 'port-in-use' })
    server.close()
    await assert.rejects(start('port', { listen: ['/ip4/127.0.0.1/tcp/x'] }))
    // The folder is free again.
    const node = await start('port')
    await node.stop('test')
  })

  it('gives up its start when told to, at any moment, and leaves nothing running', async () => {
    for (const milliseconds of [0, 20, 80, 200]) {
      const stop = new AbortController()
      const starting = startNode(options('aborted'), { signal: stop.signal, log: quietLog })
      const timer = setTimeout(() => stop.abort(), milliseconds)
      await starting.then(
        (node) => node.stop('test'),
        (error) => assert.equal(error.code, 'aborted'),
      )
      clearTimeout(timer)
      // The folder is free again.
      await (await openDataFolder(join(base, 'aborted'))).close()
    }
  })
})

describe('joining', () => {
  it('ends with whom it tried when nobody can be reached in time', async () => {
    let now = 0
    const sleep = async (ms: number): Promise<void> => {
      now += ms
    }
    const clock = { now: () => now, sleep }
    const network = { clock, connected: () => [], bootstrap: () => [] } as unknown as Network
    const modules = { network, log: quietLog, tried: ['/ip4/127.0.0.1/tcp/9'] }
    await assert.rejects(joinRun(run.id, modules, new AbortController().signal, 5_000), {
      code: 'no-peer-reachable',
      message: /within 5 s.*\/ip4\/127\.0\.0\.1\/tcp\/9/,
    })
    assert.ok(now >= 5_000 && now < 6_000)
  })
})

describe('an error that nobody caught', () => {
  it('stops the node and ends the process with code 1', async () => {
    let stops = 0
    const code = await new Promise<number>((resolve) => {
      const release = guardProcess(
        {
          stop: async () => {
            stops += 1
          },
        },
        quietLog,
        (given) => {
          release()
          resolve(given)
        },
      )
      process.listeners('uncaughtException').at(-1)?.(new Error('test'), 'uncaughtException')
    })
    assert.deepEqual([code, stops], [1, 1])
  })
})
