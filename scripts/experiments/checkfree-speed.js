#!/usr/bin/env node
/**
 * How long it takes to rebuild a stage from two neighbours that are here already, beside a plain copy of as many bytes: the loops read and write memory and compute next to
 * nothing. Fetching the neighbours takes far longer and is not measured here. Prints a Markdown table: best and median of 15.
 *
 *   npm run build && node scripts/experiments/checkfree-speed.js [--parameters 10000000]
 */
import { parseArgs } from 'node:util'
import { loadKernels, SharedVectors } from '../../dist/kernels/index.js'
import { averageInto } from '../../dist/protocols/pipeline/recovery.js'
import { markdown } from './table.js'

const { values } = parseArgs({ options: { parameters: { type: 'string', default: '10000000' } } })
const length = Number(values.parameters)
const vectors = SharedVectors.create({ place: { type: 'float32', length }, other: { type: 'float32', length } })
const kernels = loadKernels(vectors)
const [place, other] = [vectors.float32('place'), vectors.float32('other')]
for (let i = 0; i < length; i++) [place[i], other[i]] = [Math.random(), Math.random()]

function timed(work) {
  const times = Array.from({ length: 15 }, () => {
    const begun = performance.now()
    work()
    return performance.now() - begun
  }).toSorted((a, b) => a - b)
  return [times[0], times[7]]
}

/** Name, vectors read and written, work. */
const rows = [
  ['copy of the vector', 2, () => place.set(other)],
  ['average of two (`averageInto`)', 6, () => averageInto(kernels, place, other, 0.4)],
].map(([name, passes, work]) => {
  const [best, median] = timed(work)
  const rate = (passes * 4 * length) / best / 1e6
  return [name, `${best.toFixed(1)} ms`, `${median.toFixed(1)} ms`, `${rate.toFixed(0)} GB/s`]
})
console.log(markdown([`${length} parameters`, 'best', 'median', 'read and written, best'], rows))
