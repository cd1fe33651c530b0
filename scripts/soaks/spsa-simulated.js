/**
 * Many randomized runs of the strategy `spsa` in the simulator: peers that come late, leave, are killed while they write and start again, over a lossy
 * network. Whenever two peers hold the same contributions they must hold the same bits. Takes about 0.3 s of one core per run.
 *
 *     npm run build && node scripts/soaks/spsa-simulated.js [runs, default 200] [first seed, default 1]
 */
import { randomRun } from '../../dist/simulator/testing/spsa-runs.js'

const runs = Number(process.argv[2] ?? 200)
const first = Number(process.argv[3] ?? 1)
const began = process.cpuUsage()
let failed = 0
let together = 0
for (let seed = first; seed < first + runs; seed++) {
  try {
    together += (await randomRun(seed)).together ? 1 : 0
  } catch (error) {
    failed++
    console.error(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
  }
}
const { user, system } = process.cpuUsage(began)
const seconds = ((user + system) / 1e6).toFixed(0)
console.log(
  `${runs} runs, ${failed} failed; in ${together} all peers ended in one another's sight; ${seconds} s of CPU`,
)
process.exitCode = failed === 0 ? 0 : 1
