#!/usr/bin/env node
/**
 * The experiments of docs/results.md. Measures what is not in the folder of results yet, draws the plots and writes the page; so it can be interrupted, and goes on where it was.
 * Ends with code 1 when a claim that must hold does not.
 *
 *   npm run build && node scripts/experiments/run.js [NAME...] [--fresh] [--reduced] [--page] [--cores 2] [--out docs/results]
 *
 *   NAME       experiments; default all. The page shows all that have results.
 *   --fresh    forgets what is in the folder about them
 *   --reduced  the smallest form, a minute or so; into a temporary folder unless --out says where
 *   --page     measures nothing: plots and page of what is there
 *   --list     says what there is
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../files.js'
import { experimentOf, experiments } from './experiments.js'
import { runTasks } from './pool.js'
import { resultsPage } from './results-page.js'

/** Digits kept of every number that was measured: more than any of them is worth. */
const DIGITS = 6

/** What is in a folder of one experiment: [{ job, seconds, result }]. */
function readRuns(folder, { name }) {
  const file = join(folder, `${name}.json`)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).runs : []
}

/** Written beside and renamed: an interrupted run never leaves half a file. */
function write(file, content) {
  writeFileSync(`${file}.part`, content)
  renameSync(`${file}.part`, file)
}

const rounded = (_, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value

function writeRuns(folder, { name }, runs) {
  const lines = runs.map((run) => JSON.stringify(run, rounded))
  const machine = JSON.stringify({ node: process.version, processor: cpus()[0]?.model })
  write(
    join(folder, `${name}.json`),
    `{ "experiment": "${name}", "machine": ${machine}, "runs": [\n${lines.join(',\n')}\n] }\n`,
  )
}

/** One job's results are those of another with the same words. */
const keyOf = (job) => JSON.stringify(job)

/** What counts: the runs of the first seed, if all of them are there, and of those after it that are whole as well. */
function ofWholeSeeds(wanted, runs) {
  const seeds = [...new Set(wanted.map(({ seed }) => seed))]
  const count = (jobs, seed) => jobs.filter((job) => job.seed === seed).length
  const whole = (seed) =>
    count(wanted, seed) ===
    count(
      runs.map(({ job }) => job),
      seed,
    )
  return whole(seeds[0]) ? runs.filter(({ job }) => whole(job.seed)) : []
}

/**
 * Runs experiments and writes their results, plots and the page. Jobs of first seeds come first. Returns the entries of the page.
 * @param {{ names: string[], out: string, reduced?: boolean, fresh?: boolean, cores: number, signal: AbortSignal, log: (line: string) => void }} options
 */
export async function runExperiments({ names, out, reduced = false, fresh = false, cores, signal, log }) {
  mkdirSync(out, { recursive: true })
  const chosen = names.map(experimentOf)
  const kept = new Map()
  const tasks = []
  for (const experiment of experiments) {
    const wanted = experiment.jobs({ reduced })
    const known = new Map(readRuns(out, experiment).map((run) => [keyOf(run.job), run]))
    if (fresh && chosen.includes(experiment)) known.clear()
    kept.set(experiment.name, { wanted, known })
    if (!chosen.includes(experiment)) continue
    for (const job of wanted) if (!known.has(keyOf(job))) tasks.push({ name: experiment.name, job })
  }
  const runsOf = ({ name }) => {
    const { wanted, known } = kept.get(name)
    return wanted.flatMap((job) => known.get(keyOf(job)) ?? [])
  }
  const rank = ({ name, job }) => [...new Set(kept.get(name).wanted.map(({ seed }) => seed))].indexOf(job.seed)
  tasks.sort((a, b) => rank(a) - rank(b))
  await runTasks(tasks, {
    cores,
    signal,
    log: ({ name, job }, line) => log(`${name} ${keyOf(job)}: ${line}`),
    done({ name, job }, { result, seconds }) {
      kept.get(name).known.set(keyOf(job), { job, seconds, result })
      writeRuns(out, { name }, runsOf({ name }))
      log(`${name} ${keyOf(job)}: done, ${seconds} s of CPU`)
    },
  })
  const entries = experiments.flatMap((experiment) => {
    const { wanted } = kept.get(experiment.name)
    const all = runsOf(experiment)
    const runs = ofWholeSeeds(wanted, all)
    if (runs.length === 0) return []
    // What was rounded on its way to the file is what is reported, now and later.
    const report = experiment.report(JSON.parse(JSON.stringify(runs, rounded)), { reduced })
    for (const [ending, svg] of Object.entries(report.plots)) write(join(out, `${experiment.name}${ending}.svg`), svg)
    const minutes = all.reduce((sum, { seconds }) => sum + seconds, 0) / 60
    const timed = all.filter(({ seconds }) => seconds !== null).length
    const jobs = wanted.length
    return [{ experiment, runs, report, minutes, timed, jobs, missing: jobs - all.length }]
  })
  write(`${out}.md`, resultsPage(entries, basename(out)))
  return entries
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      fresh: { type: 'boolean', default: false },
      reduced: { type: 'boolean', default: false },
      cores: { type: 'string', default: '2' },
      out: { type: 'string' },
      page: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  })
  if (values.list) {
    for (const { name, title } of experiments) console.log(`${name.padEnd(22)} ${title}`)
    return 0
  }
  const unknown = positionals.find((name) => experimentOf(name) === undefined)
  if (unknown !== undefined) {
    console.error(`'${unknown}' is none of ${experiments.map(({ name }) => name).join(', ')}`)
    return 2
  }
  const cores = Number(values.cores)
  if (!Number.isInteger(cores) || cores < 1) {
    console.error(`--cores ${values.cores}: must be a whole number above 0`)
    return 2
  }
  const abort = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => abort.abort())
  const out = resolve(
    values.out ?? (values.reduced ? mkdtempSync(join(tmpdir(), 'starling-results-')) : join(root, 'docs/results')),
  )
  const { reduced, fresh } = values
  const names = values.page ? [] : positionals.length > 0 ? positionals : experiments.map(({ name }) => name)
  const log = (line) => console.error(line)
  const entries = await runExperiments({ names, out, reduced, fresh, cores, signal: abort.signal, log }).catch(
    (error) => {
      if (abort.signal.aborted) return undefined
      throw error
    },
  )
  if (entries === undefined) {
    console.error('interrupted; the same command goes on from here')
    return 130
  }
  console.log(`${relative(process.cwd(), out)}.md`)
  const broken = entries.flatMap(({ experiment, report }) =>
    report.claims
      .filter(({ holds, asserted }) => asserted && !holds)
      .map(({ claim, ours }) => `${experiment.name}: ${claim} (here: ${ours})`),
  )
  for (const line of broken) console.error(`does not hold: ${line}`)
  return broken.length > 0 ? 1 : 0
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) process.exitCode = await main()
