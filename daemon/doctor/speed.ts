/**
 * Measures the engine; runs as a process of its own, started by ./engine.ts, because a product blocks its thread and a library built for
 * another processor ends its process. Prints one JSON object on the last line.
 */
import { performance } from 'node:perf_hooks'
import { openEngine } from '../../models/index.ts'
import type { EngineFact } from './types.ts'

const SIZE = 1024

/** Products before the measured ones, in which threads start and caches fill. */
const WARM_UP = 2

/** Products measured at most, and the milliseconds after which no further one is begun. */
const REPEATS = 8
const ENOUGH = 2_000

const prefer = process.argv[2] as EngineFact['name'] | undefined
const { name, why, tf } = await openEngine(prefer === undefined ? {} : { prefer })
const a = tf.randomUniform([SIZE, SIZE], -1, 1, 'float32', 1)
const b = tf.randomUniform([SIZE, SIZE], -1, 1, 'float32', 2)
let best = Number.POSITIVE_INFINITY
const begun = performance.now()
for (let i = 0; i < WARM_UP + REPEATS; i++) {
  const before = performance.now()
  const product = tf.matMul(a, b)
  await product.data()
  product.dispose()
  if (i >= WARM_UP) best = Math.min(best, performance.now() - before)
  if (i >= WARM_UP && performance.now() - begun > ENOUGH) break
}
// One multiplication and one addition for each of the 1024³ terms; milliseconds to seconds, to 10⁹.
const fact: EngineFact = { name, why, gflops: (2 * SIZE ** 3) / (best * 1e-3) / 1e9 }
console.log(JSON.stringify(fact))
