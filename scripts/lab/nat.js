#!/usr/bin/env node
/**
 * Starling on several machines, on one: network namespaces with real links, routers that translate addresses, thin and lossy lines, partitions. Each scenario gets a lab
 * of its own, which is taken down in reverse order at its end, at an error and at Ctrl-C. Exits with 1 when something that a scenario expects did not hold, or when a
 * node ended that nobody ended. Needs root, iproute2 and iptables, and nothing of the network: no namespace leads out of the lab. See docs/lab.md.
 *
 *     npm run build && sudo node scripts/lab/nat.js [SCENARIO...] [--nat port-restricted|symmetric] [--out table.json] [--keep FOLDER]
 *     sudo node scripts/lab/nat.js --list      what scenarios there are
 *     sudo node scripts/lab/nat.js --hold      only the namespaces, to try things by hand, until Ctrl-C
 *     sudo node scripts/lab/nat.js --clean     removes what a lab left behind that was killed
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createCrew } from './node.js'
import { scenarios } from './scenarios/index.js'
import { clean, whyNot, whyNotWith } from './tools.js'
import { createTopology, NATS } from './topology.js'

/** The usual home router; a scenario may name several kinds for a run without --nat. */
const DEFAULT_NAT = 'port-restricted'

/** Lines of each node's log that are shown when a scenario failed. */
const TAIL = 25

function fail(message) {
  console.error(`lab: ${message}`)
  process.exit(2)
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        nat: { type: 'string' },
        out: { type: 'string' },
        keep: { type: 'string' },
        list: { type: 'boolean' },
        hold: { type: 'boolean' },
        clean: { type: 'boolean' },
      },
    })
  } catch (error) {
    return fail(error.message)
  }
}

/** Runs one scenario from the first namespace to the last; what came of it. Never throws. */
async function once(scenario, { nat, parent, interrupted }) {
  const began = performance.now()
  const late = AbortSignal.timeout(scenario.limit * 1_000)
  const signal = AbortSignal.any([late, interrupted])
  const result = { name: scenario.name, nat, facts: {}, faults: [] }
  const say = (text) => console.error(`  ${((performance.now() - began) / 1_000).toFixed(1)} s  ${text}`)
  let topology
  let crew
  try {
    // A folder that an earlier lab kept holds identities and another run.
    const folder = mkdtempSync(join(parent, `${scenario.name}-`))
    topology = createTopology({ nat })
    crew = createCrew({ topology, folder })
    result.facts = await scenario.run({ topology, crew, folder, signal, say })
    for (const [what, holds] of Object.entries(scenario.expected))
      if (!holds(result.facts)) result.faults.push(`not true: ${what}`)
    for (const { name, child } of crew.deserters())
      result.faults.push(`${name} ended by itself with ${child.exitCode ?? child.signalCode}`)
  } catch (error) {
    result.faults.push(late.aborted ? `not done within ${scenario.limit} s` : String(error.message ?? error))
    if (process.env.LAB_TRACE !== undefined) console.error(error)
  } finally {
    await crew?.close()
    topology?.close()
  }
  result.seconds = (performance.now() - began) / 1_000
  if (result.faults.length > 0 && !interrupted.aborted) {
    for (const { log } of crew?.nodes ?? []) console.error(`--- ${log}\n${tail(log)}`)
  }
  return result
}

/** The last lines of a log but those of steps and texts, which are most of it. */
const tail = (log) =>
  readFileSync(log, 'utf8')
    .trimEnd()
    .split('\n')
    .filter((line) => !/DEBUG: (step|sample) /.test(line))
    .slice(-TAIL)
    .join('\n')

/** JSON with three digits after the point. */
const json = (value, indent) =>
  JSON.stringify(value, (_key, one) => (typeof one === 'number' ? Math.round(one * 1_000) / 1_000 : one), indent)

function print({ name, nat, seconds, facts, faults }) {
  console.log(`${faults.length === 0 ? 'ok    ' : 'FAILED'} ${name} (${nat}), ${Math.round(seconds)} s`)
  for (const [key, value] of Object.entries(facts)) console.log(`         ${key}: ${json(value)}`)
  for (const fault of faults) console.log(`       ! ${fault}`)
}

/** One line for each scenario. */
function summarize(results) {
  console.log('\nscenario     routers          seconds')
  for (const { name, nat = '', seconds = 0, faults = [], skipped } of results) {
    const verdict = skipped !== undefined ? 'skipped' : faults.length === 0 ? 'ok' : `FAILED: ${faults[0]}`
    console.log(`${name.padEnd(12)} ${nat.padEnd(16)} ${String(Math.round(seconds)).padStart(7)}  ${verdict}`)
  }
}

/** The first Ctrl-C takes the lab down; the lab's own processes hear it as well. */
function onInterrupt() {
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(name, () => interrupted.abort(new Error(`${name}: the lab is taken down`)))
  return interrupted.signal
}

async function hold(nat, interrupted) {
  const topology = createTopology({ nat })
  try {
    for (const host of topology.hosts)
      console.log(
        `${host.padEnd(6)} ${topology.addressOf(host).padEnd(14)} ip netns exec ${topology.nameOf(host)} bash`,
      )
    console.log('Ctrl-C takes it down.')
    const awake = setInterval(() => {}, 60_000) // a signal alone does not keep a process alive
    await new Promise((resolve) => interrupted.addEventListener('abort', resolve, { once: true }))
    clearInterval(awake)
  } finally {
    topology.close()
  }
}

const { values, positionals } = readArguments()
if (values.list) {
  for (const { name, about } of scenarios) console.log(`${name.padEnd(12)} ${about}`)
  process.exit(0)
}
const problem = whyNot()
if (problem !== undefined) fail(problem)
if (values.nat !== undefined && NATS[values.nat] === undefined)
  fail(`--nat ${values.nat}: must be one of ${Object.keys(NATS).join(', ')}`)
if (values.clean) {
  const removed = clean()
  console.log(removed.length === 0 ? 'nothing was left behind' : `removed ${removed.join(', ')}`)
  process.exit(0)
}
const unknown = positionals.find((word) => !scenarios.some(({ name }) => name === word))
if (unknown !== undefined) fail(`no scenario ${unknown}: there are ${scenarios.map(({ name }) => name).join(', ')}`)

const interrupted = onInterrupt()
if (values.hold) {
  await hold(values.nat ?? DEFAULT_NAT, interrupted)
  process.exit(0)
}
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'starling-lab-'))
mkdirSync(folder, { recursive: true })
const results = []
for (const scenario of scenarios.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  if (interrupted.aborted) break
  const skipped = whyNotWith(scenario.needs ?? {})
  if (skipped !== undefined) {
    console.log(`skipped ${scenario.name}: ${skipped}`)
    results.push({ name: scenario.name, skipped })
    continue
  }
  console.error(`${scenario.name}: ${scenario.about}`)
  for (const nat of values.nat === undefined ? (scenario.nats ?? [DEFAULT_NAT]) : [values.nat]) {
    if (interrupted.aborted) break
    const result = await once(scenario, { nat, parent: folder, interrupted })
    results.push(result)
    print(result)
  }
}
if (results.length > 1) summarize(results)
if (values.out !== undefined) writeFileSync(values.out, `${json(results, 2)}\n`)
if (values.keep === undefined) rmSync(folder, { recursive: true, force: true })
else console.error(`folders and logs are in ${folder}`)
process.exitCode = !interrupted.aborted && results.every(({ faults = [] }) => faults.length === 0) ? 0 : 1
