import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { experiments } from './experiments.js'
import { runExperiments } from './run.js'

const folder = mkdtempSync(join(tmpdir(), 'starling-experiments-'))
const out = join(folder, 'results')
const lines = []
const names = experiments.map(({ name }) => name)
const options = {
  names,
  out,
  reduced: true,
  cores: 2,
  signal: new AbortController().signal,
  log: (line) => lines.push(line),
}
let entries

before(async () => {
  entries = await runExperiments(options)
})
after(() => rmSync(folder, { recursive: true }))

test('the claims that hold at any size hold in the reduced form of every experiment', () => {
  assert.deepEqual(
    entries.map(({ experiment }) => experiment.name),
    names,
  )
  for (const { experiment, report } of entries) {
    assert.ok(
      report.claims.some(({ asserted }) => asserted),
      experiment.name,
    )
    for (const { claim, ours, holds, asserted } of report.claims) {
      assert.ok(holds || !asserted, `${experiment.name}: ${claim} (${ours})`)
    }
  }
})

test('results are kept, drawn and written down', () => {
  const page = readFileSync(`${out}.md`, 'utf8')
  for (const { experiment, report } of entries) {
    const kept = JSON.parse(readFileSync(join(out, `${experiment.name}.json`), 'utf8'))
    assert.equal(kept.runs.length, experiment.jobs({ reduced: true }).length)
    assert.ok(page.includes(`## ${experiment.title}\n`))
    for (const ending of Object.keys(report.plots)) {
      assert.ok(page.includes(`results/${experiment.name}${ending}.svg`))
      const svg = readFileSync(join(out, `${experiment.name}${ending}.svg`), 'utf8')
      assert.doesNotMatch(svg, /NaN|undefined|Infinity/)
    }
  }
  assert.doesNotMatch(page, /NaN|undefined|Infinity/)
})

test('what has been measured is not measured again', async () => {
  const before = lines.length
  const again = await runExperiments({ ...options, signal: AbortSignal.timeout(60_000) })
  assert.equal(lines.length, before)
  assert.deepEqual(
    again.map(({ report }) => report),
    entries.map(({ report }) => report),
  )
})

test('an interrupted run ends its processes and leaves no half files', async () => {
  const abort = new AbortController()
  const elsewhere = join(folder, 'interrupted')
  const run = runExperiments({ ...options, names: ['skippipe-omission'], out: elsewhere, signal: abort.signal })
  abort.abort()
  await assert.rejects(run, { name: 'AbortError' })
  assert.ok(!existsSync(join(elsewhere, 'skippipe-omission.json')))
})
