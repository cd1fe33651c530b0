import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import type { StarlingError } from '../../protocols/index.ts'
import { checkScenario, simulate } from '../../simulator/index.ts'
import { buildRun, formatRun } from '../run/index.ts'
import { churnOf, liarsOf, partitionOf, scenarioOf, seedsOf, speedsOf } from './simulation/flags.ts'
import { reproduction } from './simulation/index.ts'
import { realProblem } from './simulation/real.ts'

const PROGRAM = fileURLToPath(new URL('../../../bin/starling.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'starling-simulate-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string, content: string): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const run = file('run.yaml', formatRun(buildRun({ strategy: { name: 'noloco', innerSteps: 5 } })))
const pipeline = file('pipeline.yaml', formatRun(buildRun({ strategy: { name: 'pipeline', stages: 2 } })))

const starling = (...args: string[]) =>
  spawnSync(process.execPath, [PROGRAM, 'simulate', ...args], { encoding: 'utf8', timeout: 120_000 })

describe('starling simulate', () => {
  it('gives the same digest for the same seed, and says what happened', () => {
    const args = [run, '--peers', '8', '--rounds', '3', '--seed', '5', '--churn', '0.2', '--liars', '1', '--json']
    const [first, again] = [starling(...args), starling(...args)]
    assert.equal(first.status, 0, first.stderr)
    const summary = JSON.parse(first.stdout.trim().split('\n').at(-1) as string)
    assert.equal(summary.kind, 'summary')
    assert.match(summary.digest, /^[0-9a-f]{64}$/)
    assert.equal(summary.violationCount, 0)
    assert.ok(summary.events.exchange > 0 && summary.seconds > 0 && summary.memoryBytes > 0)
    assert.equal(JSON.parse(again.stdout.trim().split('\n').at(-1) as string).digest, summary.digest)
  })

  it('refuses in one line what cannot be simulated', () => {
    const { status, stdout, stderr } = starling(pipeline)
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^starling: strategy.name: pipeline needs a real network; .* noloco, gossip, spsa\n$/)
  })

  it('puts flags before the file of the scenario', () => {
    const known = { peers: 20, network: { latency: 80, nat: 0.5 }, churn: { kind: 'pccl' } }
    assert.deepEqual(scenarioOf({ latency: 10, speeds: 'uniform', liars: '0.1' }, known), {
      peers: 20,
      network: { latency: 10, nat: 0.5 },
      speed: { spread: 0 },
      churn: { kind: 'pccl' },
      liars: { count: 2 },
    })
    assert.deepEqual(speedsOf('two-class:0.25:4'), { spread: 0, slow: { share: 0.25, factor: 4 } })
    assert.deepEqual(partitionOf('60:30:0.5'), { at: 60, for: 30, share: 0.5 })
    assert.deepEqual(seedsOf('3..5'), [3, 4, 5])
    for (const act of [() => speedsOf('fast'), () => partitionOf('60:30'), () => seedsOf('8..1')]) {
      assert.throws(act, { code: 'bad-scenario' })
    }
  })

  it("trains the run's own model with few peers", async () => {
    const own = buildRun({
      data: { source: 'digits', images: 400 },
      model: { preset: 'digits-mlp' },
      training: { batch: 8, steps: 6 },
      strategy: { name: 'noloco', innerSteps: 3 },
    })
    const scenario = checkScenario({ peers: 2, rounds: 2, learner: 'real', strategy: own.manifest.strategy })
    const result = await simulate(scenario, { problem: await realProblem(own, scenario) })
    assert.deepEqual([result.violations, result.failures, result.steps], [[], {}, 12])
    assert.ok(result.loss.last < result.loss.first, JSON.stringify(result.loss))
    await assert.rejects(realProblem(own, { ...scenario, peers: 40 }), { code: 'bad-scenario', message: /at most 32/ })
  })

  it('says how to see the same again', () => {
    const all = (text: string, earlier: string[] = []): string[] => [...earlier, text]
    const command = new Command('simulate')
      .argument('<run.yaml>')
      .option('--peers <count>')
      .option('--nat <share>', '', '0.1')
      .option('--partition <at:for:share>', '', all)
      .option('--seeds <range>')
      .option('--json')
    const flags = ['--peers', '8', '--partition', '1:2:0.5', '--partition', '5:2:0.5', '--seeds', '1..3', '--json']
    command.parse(['my run.yaml', ...flags], { from: 'user' })
    assert.equal(
      reproduction(command, 2),
      "starling simulate 'my run.yaml' --peers 8 --partition 1:2:0.5 --partition 5:2:0.5 --seed 2",
    )
  })

  it('reads churn and liars', () => {
    assert.deepEqual(churnOf('0.2'), { kind: 'share', perRound: 0.2 })
    assert.deepEqual(churnOf('poisson:600:60'), { kind: 'poisson', up: 600, down: 60 })
    assert.deepEqual(churnOf('mass:100:0.5:30'), { kind: 'mass', at: 100, share: 0.5, down: 30 })
    const trace = file('trace.yaml', '- {at: 3, peer: peer-1, what: kill}\n')
    assert.deepEqual(churnOf(trace), { kind: 'trace', events: [{ at: 3, peer: 'peer-1', what: 'kill' }] })
    assert.deepEqual(liarsOf('0.1', 200), { count: 20 })
    assert.deepEqual(liarsOf('3:alie:1.5', 200), { count: 3, attack: 'alie:1.5' })
    const code = (act: () => unknown): string => {
      try {
        act()
      } catch (error) {
        return (error as StarlingError).code
      }
      return 'none'
    }
    assert.equal(
      code(() => churnOf('poisson:600')),
      'bad-scenario',
    )
    assert.equal(
      code(() => churnOf(join(folder, 'missing.yaml'))),
      'file-missing',
    )
    assert.equal(
      code(() => churnOf(file('broken.yaml', '- [1'))),
      'bad-scenario',
    )
    assert.equal(
      code(() => liarsOf('many', 10)),
      'bad-scenario',
    )
  })
})
