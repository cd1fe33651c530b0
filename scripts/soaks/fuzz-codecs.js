#!/usr/bin/env node
/**
 * Hostile messages for every decoder: random bytes, damaged and cut messages. A decoder may refuse one with its own error, having written
 * nothing, or decode it to finite values; anything else, and a batch that does not end within a minute, fails the run. Prints one JSON
 * object per decoder. Needs a build.
 *
 *   node scripts/soaks/fuzz-codecs.js [--inputs 1000000] [--seed 1] [--codec int8]
 */
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { loadKernels } from '../../dist/kernels/index.js'
import { CODEC_NAMES, codecs } from '../../dist/protocols/codecs/index.js'
import { fuzzDecoder } from '../../dist/protocols/codecs/testing/fuzz.js'

/** Inputs between two signs of life. */
const BATCH = 20_000

/** Longest time for a batch, ms. */
const HANG = 60_000

/** Runs the batches of one decoder in a thread of its own, so that one that hangs can be stopped. Resolves to the summed counts. */
function fuzz(codec, inputs, seed) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { codec, inputs, seed } })
    const sum = { inputs: 0, refused: 0, decoded: 0 }
    let timer
    const watch = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        reject(
          new Error(`${codec}: the batch after ${sum.inputs} inputs of seed ${seed} did not end in ${HANG / 1000} s`),
        )
        void worker.terminate()
      }, HANG)
    }
    watch()
    worker.on('message', (counts) => {
      for (const key in sum) sum[key] += counts[key]
      watch()
    })
    worker.once('error', reject)
    worker.once('exit', () => {
      clearTimeout(timer)
      resolve(sum)
    })
  })
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      inputs: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      codec: { type: 'string', multiple: true },
    },
  })
  const inputs = Number(values.inputs)
  const seed = Number(values.seed)
  const names = values.codec ?? CODEC_NAMES
  const unknown = names.find((name) => !CODEC_NAMES.includes(name))
  if (!(Number.isSafeInteger(inputs) && inputs > 0 && Number.isSafeInteger(seed)) || unknown !== undefined) {
    const what =
      unknown === undefined ? '--inputs and --seed must be whole numbers' : `--codec: "${unknown}" is no code`
    console.error(`fuzz-codecs: ${what}; codes are ${CODEC_NAMES.join(', ')}`)
    process.exit(2)
  }
  for (const codec of names) {
    const started = performance.now()
    const counts = await fuzz(codec, inputs, seed)
    const seconds = Math.round((performance.now() - started) / 100) / 10
    console.log(JSON.stringify({ codec, seed, ...counts, seconds }))
  }
} else {
  const { codec, inputs, seed } = workerData
  for (let done = 0; done < inputs; done += BATCH) {
    const options = { inputs: Math.min(BATCH, inputs - done), seed: `${seed}/${done}` }
    parentPort.postMessage(fuzzDecoder(codecs[codec], loadKernels, options))
  }
}
