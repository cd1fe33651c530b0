import { basename } from 'node:path'
import { Command, Option } from 'commander'
import type { Problem, Scenario } from '../../../simulator/index.ts'
import { FAILED } from '../errors.ts'
import { jsonOption, real, whole } from '../options.ts'
import { createOutput } from '../output.ts'
import { readUserFile } from '../run-file.ts'
import {
  createShow,
  reproduction,
  type ScenarioFlags,
  scenarioFile,
  scenarioOf,
  seedsOf,
  tell,
  tellSeed,
} from '../simulation/index.ts'

interface Flags extends ScenarioFlags {
  scenario?: string
  seeds?: number[]
  cores?: number
  json?: true
}

/** `starling simulate RUN.yaml`: the run's strategy with many peers in one process, under a virtual clock. */
export function simulate(report: (code: number) => void): Command {
  return new Command('simulate')
    .description("run a run's strategy with many simulated peers, the same for the same seed")
    .argument('<run.yaml>', 'its strategy (noloco, gossip, spsa), seed and steps are taken')
    .option('--scenario <file>', 'YAML with what the options below say, and more; they go before it')
    .addOption(new Option('--peers <count>', 'peers (default: 100)').argParser(whole(2, 20_000)))
    .addOption(
      new Option('--seed <number>', 'seed of everything random (default: that of the run)').argParser(whole(0)),
    )
    .option('--seeds <range>', 'several seeds, one after the other, as in 1..8', seedsOf)
    .addOption(new Option('--cores <count>', 'seeds at once, each in a thread (default: 1)').argParser(whole(1, 256)))
    .addOption(
      new Option('--rounds <count>', 'rounds (default: as many as the run has steps for)').argParser(
        whole(1, 1_000_000),
      ),
    )
    .addOption(
      new Option(
        '--learner <name>',
        "what they learn: a small network (default), a quadratic, or the run's own model, for few peers",
      ).choices(['mlp', 'quadratic', 'real']),
    )
    .addOption(
      new Option('--membership <kind>', 'how they know of each other (default: heartbeats up to 256 peers)').choices([
        'heartbeats',
        'shared',
      ]),
    )
    .addOption(
      new Option('--latency <ms>', 'median one-way delay in a region (default: 40)').argParser(real(0, 60_000)),
    )
    .addOption(new Option('--regions <kind>', 'where they live (default: one)').choices(['one', 'world']))
    .addOption(new Option('--upload <mbit/s>', 'of each peer (default: 20)').argParser(real(0.001, 1e6)))
    .addOption(new Option('--download <mbit/s>', 'of each peer (default: 100)').argParser(real(0.001, 1e6)))
    .addOption(
      new Option('--gossip <kind>', 'an ideal, or routers of gossipsub (default: broadcast)').choices([
        'broadcast',
        'mesh',
      ]),
    )
    .addOption(new Option('--loss <share>', 'share of gossip that is lost (default: 0)').argParser(real(0, 0.95)))
    .addOption(new Option('--nat <share>', 'share of peers that nobody can dial (default: 0)').argParser(real(0, 1)))
    .addOption(
      new Option('--step-time <ms>', 'median duration of an optimizer step (default: 250)').argParser(real(0.001, 1e7)),
    )
    .option('--speeds <kind>', 'uniform, lognormal:DEVIATION (default: lognormal:0.3), two-class:SHARE:FACTOR')
    .option(
      '--churn <kind>',
      'a share that dies per round (0.2), poisson:UP:DOWN, diurnal, mass:AT:SHARE:DOWN (seconds), pccl, or a file with a trace',
    )
    .option('--partition <at:for:share>', 'cut a share of the peers off for a while, seconds; may be repeated', again)
    .option('--liars <count[:attack]>', 'peers that lie, or a share such as 0.1, and how, as in 20:sign-flip')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ starling init run.yaml && starling simulate run.yaml --peers 200 --rounds 20 --churn 0.2\n\nA trace is a YAML list of {at: SECONDS, peer: peer-001, what: kill | start}.',
    )
    .action(async (file: string, flags: Flags, command: Command) => {
      const output = createOutput(flags.json === true)
      const text = new TextDecoder().decode(readUserFile(file))
      const { parseRun } = await import('../../run/index.ts')
      const run = parseRun(text, basename(file))
      const { manifest, training } = run
      const simulator = await import('../../../simulator/index.ts')
      const given = scenarioOf(flags, flags.scenario === undefined ? {} : scenarioFile(flags.scenario))
      const common = { seed: manifest.seed, strategy: manifest.strategy, ...given }
      const interval = simulator.intervalOf(simulator.checkScenario({ ...common, rounds: 1 }))
      const rounds = Math.max(1, Math.floor(training.steps / interval))
      const scenario = simulator.checkScenario({ rounds, ...common })
      let problem: Problem | undefined
      if (scenario.learner === 'real') {
        const { realProblem } = await import('../simulation/real.ts')
        problem = await realProblem(run, scenario)
      }
      const about = (of: Scenario) => ({ scenario: of, reproduce: reproduction(command, of.seed) })
      if (flags.seeds !== undefined) {
        const seeds = { seeds: flags.seeds, cores: flags.cores ?? 1, ...(problem === undefined ? {} : { problem }) }
        let found = 0
        for await (const { seed, result, realSeconds } of simulator.sweep(scenario, seeds)) {
          found += result.violationCount > 0 ? 1 : 0
          tellSeed(output, { ...about({ ...scenario, seed }), result, realSeconds })
        }
        output.line(`${flags.seeds.length} seeds, ${found} with violations`)
        output.summary({ seeds: flags.seeds.length, withViolations: found })
        if (found > 0) report(FAILED)
        return
      }
      const show = createShow(output, scenario.rounds)
      try {
        const options = {
          seeds: [scenario.seed],
          onProgress: show.update,
          ...(problem === undefined ? {} : { problem }),
        }
        for await (const { result, realSeconds } of simulator.sweep(scenario, options)) {
          show.stop()
          tell(output, { ...about(scenario), result, realSeconds })
          if (result.violationCount > 0) report(FAILED)
        }
      } finally {
        show.stop()
      }
    })
}

/** One more of an option that may be repeated. */
function again(text: string, earlier: string[] = []): string[] {
  return [...earlier, text]
}
