#!/usr/bin/env node
/**
 * Randomized runs of the strategy `spsa` with real daemons as processes: 3 to 6 of them on different engines, some killed with -9 and restarted, some
 * that come late. At the end of each run all hold the same contributions and the same parameters, to the bit, or this exits with 1. About a minute per run;
 * on a slow machine it takes more steps, because who has finished does not wait for those that have not started yet.
 *
 *     npm run build && node scripts/soaks/spsa-processes.js [--runs 10] [--seed 1] [--steps 1000]
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildRun } from '../../dist/daemon/run/index.js'
import { seededRandom } from '../../dist/protocols/index.js'
import { createStage, until } from '../../dist/tests/support/peers.js'

/** Longest wait for anything, ms. */
const PATIENCE = 300_000

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '1000' },
  },
})
const [runs, firstSeed, steps] = [values.runs, values.seed, values.steps].map(Number)

/** One run; a line of the table. Throws when something that must hold does not. */
async function once(seed) {
  const random = seededRandom('spsa-processes', seed)
  const pick = (...of) => of[random.integer(of.length)]
  const strategy = {
    name: 'spsa',
    scaling: pick('sum', 'sqrt', 'mean'),
    directions: pick('sign', 'gaussian'),
    batch: pick(1, 8, 16),
    ...(random.uniform() < 0.25 ? { variant: 'seeded', innerSteps: 4, coordinates: 16 } : {}),
  }
  // Coordinates of a drift come sixteen at a time.
  const total = strategy.variant === 'seeded' ? 6 * steps : steps
  const run = buildRun({
    name: `soak ${seed}`,
    model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 32 },
    data: { source: 'stories', bytes: 60_000 },
    training: { batch: 4, steps: total, evaluateEvery: total },
    strategy,
  })
  const count = 3 + random.integer(4)
  const lateComers = random.integer(Math.min(3, count - 1))
  const kills = random.integer(3)
  const began = performance.now()
  const stage = await createStage()
  let failed = true
  try {
    const first = await stage.start('peer-0', { manifest: run.bytes, engine: 'wasm' })
    const nodes = [first]
    const start = (name, more) => stage.start(name, { link: first.link, ...more })
    const engines = new Map([[first.name, 'wasm']])
    const add = async (name, engine) => {
      engines.set(name, engine ?? 'best')
      nodes.push(await start(name, engine === undefined ? {} : { engine }))
    }
    const early = Array.from({ length: count - lateComers - 1 }, (_, i) => [
      `peer-${i + 1}`,
      pick('js', 'wasm', undefined),
    ])
    await Promise.all(early.map(([name, engine]) => add(name, engine)))
    for (let i = count - lateComers; i < count; i++) await add(`peer-${i}`, pick('js', 'wasm', undefined))
    for (let kill = 0; kill < kills; kill++) {
      await sleep(random.integer(4_000))
      // The first one's address is in everybody's link, so it stays.
      const victim = 1 + random.integer(nodes.length - 1)
      const { name } = nodes[victim]
      await nodes[victim].kill()
      await sleep(random.integer(2_000))
      const engine = engines.get(name)
      nodes[victim] = await start(name, { resume: true, ...(engine === 'best' ? {} : { engine }) })
    }
    const finals = await Promise.all(
      nodes.map(async (node) => {
        await until(`${node.name} finishes`, async () => (await node.status()).phase === 'finished', PATIENCE)
        await node.finished
        return (await node.events()).findLast(({ kind, peer }) => kind === 'final' && peer === node.peer)
      }),
    )
    const logs = await Promise.all(nodes.map(({ folder }) => readFile(join(folder, 'final', 'contributions.log'))))
    const hashes = new Set(finals.map(({ sha256 }) => sha256))
    const line = {
      seed,
      peers: count,
      late: lateComers,
      kills,
      strategy: `${strategy.variant ?? 'spsa'} ${strategy.scaling} ${strategy.directions} ${strategy.batch}`,
      engines: [...engines.values()].join(' '),
      seconds: Math.round((performance.now() - began) / 1_000),
      models: hashes.size,
      sha256: finals[0].sha256.slice(0, 12),
    }
    failed = hashes.size !== 1 || logs.some((log) => !log.equals(logs[0]))
    for (const node of nodes) await node.stop()
    return { line, failed }
  } finally {
    await stage.end(failed)
  }
}

const lines = []
let bad = 0
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  try {
    const { line, failed } = await once(seed)
    lines.push(line)
    bad += failed ? 1 : 0
    console.log(JSON.stringify(line))
  } catch (error) {
    bad++
    console.error(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
  }
}
console.table(lines)
console.log(`${runs} runs, ${bad} failed`)
process.exitCode = bad === 0 ? 0 : 1
