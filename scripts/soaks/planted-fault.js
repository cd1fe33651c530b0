/**
 * How soon the checks of a simulation find a fault that is planted: NoLoCo responders that now and then say 'committed' without having decided, so that
 * one side of an exchange applies it and the other drops it. One simulation per seed, with the fault and without.
 *
 *     npm run build && node scripts/soaks/planted-fault.js [seeds, default 100] [probability of the fault at each commit, default 0.1]
 */
import { oneSided } from '../../dist/simulator/testing/planted.js'

const seeds = Number(process.argv[2] ?? 100)
const probability = Number(process.argv[3] ?? 0.1)
const began = process.cpuUsage()
const found = []
let mistaken = 0
for (let seed = 0; seed < seeds; seed++) {
  const { violations } = await oneSided(seed, probability)
  if (violations.some(({ kind }) => kind === 'one-sided-exchange')) {
    found.push(seed)
    if (found.length === 1) console.log(`found with seed ${seed}: ${JSON.stringify(violations[0])}`)
  }
  const without = await oneSided(seed, 0)
  mistaken += without.violationCount > 0 ? 1 : 0
}
const { user, system } = process.cpuUsage(began)
console.log(
  `${found.length} of ${seeds} seeds find the fault, the first is ${found[0] ?? 'none'}; ${mistaken} seeds see one where there is none; ${((user + system) / 1e6).toFixed(0)} s of CPU`,
)
process.exitCode = found.length > 0 && mistaken === 0 ? 0 : 1
