import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { ModelError } from '../errors.ts'
import { openEngine } from './index.ts'

/** Multiplies two small matrices in a worker thread and reports the engine and the product. */
const script = `
  import { parentPort, workerData } from 'node:worker_threads'
  const { openEngine } = await import(workerData.module)
  const { name, tf } = await openEngine({ threads: 1, prefer: workerData.prefer })
  parentPort.postMessage({ name, values: tf.matMul([[1, 2], [3, 4]], [[1, 1], [1, 0]]).arraySync() })
`

async function inWorker(prefer?: string): Promise<{ name: string; values: number[][] }> {
  const workerData = { module: new URL('./index.js', import.meta.url).href, prefer }
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { workerData })
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  } finally {
    await worker.terminate()
  }
}

describe('openEngine', () => {
  for (const prefer of ['wasm', 'js'] as const) {
    it(`opens ${prefer} when asked and says so`, async () => {
      const engine = await openEngine({ prefer })
      assert.equal(engine.name, prefer)
      assert.match(engine.why, /as asked$/)
      assert.deepEqual(engine.tf.matMul([[2]], [[3]]).arraySync(), [[6]])
    })
  }

  it('opens an engine by itself and says which', async () => {
    const engine = await openEngine()
    assert.ok(engine.why.length > 0)
    assert.deepEqual(engine.tf.matMul([[2]], [[3]]).arraySync(), [[6]])
  })

  it('opens in a worker thread, and again in a new one after the first is gone', async () => {
    const { name } = await openEngine()
    for (let i = 0; i < 2; i++) {
      const result = await inWorker()
      assert.equal(result.name, name)
      assert.deepEqual(result.values, [
        [3, 1],
        [7, 3],
      ])
    }
    assert.equal((await inWorker('wasm')).name, 'wasm')
  })

  it('refuses an engine that does not exist', async () => {
    await assert.rejects(
      openEngine({ prefer: 'gpu' as never }),
      (error) => error instanceof ModelError && error.code === 'engine-unknown',
    )
  })
})
