import { basename } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, Option } from 'commander'
import { parseAllDocuments } from 'yaml'
import { StarlingError } from '../../../protocols/index.ts'
import type { SimulationProgress, SimulationResult } from '../../../simulator/index.ts'
import { formatBytes, formatDuration } from '../../view/index.ts'
import { FAILED } from '../errors.ts'
import { jsonOption, real, whole } from '../options.ts'
import { createOutput, type Output } from '../output.ts'
import { readUserFile } from '../run-file.ts'

interface Flags {
  peers: number
  seed?: number
  rounds?: number
  learner?: string
  membership?: string
  latency?: number
  regions?: string
  loss?: number
  nat?: number
  churn?: string
  liars?: string
  json?: true
}

/** Milliseconds between two plain lines of progress. */
const LINE_INTERVAL = 10_000

/** `starling simulate RUN.yaml`: the run's strategy with many peers in one process, under a virtual clock. */
export function simulate(report: (code: number) => void): Command {
  return new Command('simulate')
    .description("run a run's strategy with many simulated peers, the same for the same seed (strategy noloco)")
    .argument('<run.yaml>', 'its strategy and training are taken; the model is a small one of the simulator')
    .addOption(new Option('--peers <count>', 'peers').argParser(whole(2, 20_000)).default(100))
    .addOption(
      new Option('--seed <number>', 'seed of everything random (default: that of the run)').argParser(whole(0)),
    )
    .addOption(
      new Option('--rounds <count>', 'outer rounds (default: as many as the run has steps for)').argParser(
        whole(1, 1_000_000),
      ),
    )
    .addOption(
      new Option('--learner <name>', 'what they learn: a small network, or a quadratic').choices(['mlp', 'quadratic']),
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
    .addOption(new Option('--loss <share>', 'share of gossip that is lost (default: 0)').argParser(real(0, 0.95)))
    .addOption(new Option('--nat <share>', 'share of peers that nobody can dial (default: 0)').argParser(real(0, 1)))
    .option(
      '--churn <kind>',
      'a share that dies per round (0.2), poisson:UP:DOWN, diurnal, mass:AT:SHARE:DOWN (seconds), pccl, or a file with a trace',
    )
    .option('--liars <count[:attack]>', 'peers that lie, or a share such as 0.1, and how, as in 20:sign-flip')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ starling init run.yaml && starling simulate run.yaml --peers 200 --rounds 20 --churn 0.2\n\nA trace is a YAML list of {at: SECONDS, peer: peer-001, what: kill | start}.',
    )
    .action(async (file: string, flags: Flags) => {
      const output = createOutput(flags.json === true)
      const text = new TextDecoder().decode(readUserFile(file))
      const { parseRun } = await import('../../run/index.ts')
      const { manifest, training } = parseRun(text, basename(file))
      const { name: strategy, ...options } = manifest.strategy
      if (strategy !== 'noloco') {
        throw new StarlingError(
          'bad-scenario',
          `strategy.name: ${strategy} needs a real network; noloco is what can be simulated`,
          { strategy },
        )
      }
      const simulator = await import('../../../simulator/index.ts')
      const { innerSteps } = options as { innerSteps: number }
      const scenario = simulator.checkScenario({
        peers: flags.peers,
        seed: flags.seed ?? manifest.seed,
        rounds: flags.rounds ?? Math.max(1, Math.floor(training.steps / innerSteps)),
        noloco: options,
        ...given({ learner: flags.learner, membership: flags.membership }),
        network: given({ latency: flags.latency, regions: flags.regions, loss: flags.loss, nat: flags.nat }),
        ...given({ churn: flags.churn === undefined ? undefined : churnOf(flags.churn) }),
        ...given({ liars: flags.liars === undefined ? undefined : liarsOf(flags.liars, flags.peers) }),
      })
      const show = createShow(output, scenario.rounds)
      const started = performance.now()
      let result: SimulationResult
      try {
        result = await simulator.simulate(scenario, { onProgress: show.update })
      } finally {
        show.stop()
      }
      tell(output, scenario.peers, scenario.rounds, result, (performance.now() - started) / 1000)
      if (result.violationCount > 0) report(FAILED)
    })
}

/** Without what is undefined. */
function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** What --churn names, unchecked but for its form. */
export function churnOf(text: string): unknown {
  const share = Number(text)
  if (text.trim() !== '' && Number.isFinite(share)) return { kind: 'share', perRound: share }
  const [kind, ...rest] = text.split(':')
  const numbers = rest.map(Number)
  if (kind === 'pccl' && rest.length === 0) return { kind }
  if (kind === 'diurnal' && rest.length === 0) return { kind }
  if (kind === 'poisson' && rest.length === 2) return { kind, up: numbers[0], down: numbers[1] }
  if (kind === 'mass' && rest.length === 3) return { kind, at: numbers[0], share: numbers[1], down: numbers[2] }
  if (['pccl', 'diurnal', 'poisson', 'mass'].includes(kind ?? '')) {
    throw new StarlingError(
      'bad-scenario',
      `--churn: '${text}' must be one of SHARE, poisson:UP:DOWN, diurnal, mass:AT:SHARE:DOWN, pccl, or a file`,
      { value: text },
    )
  }
  return { kind: 'trace', events: traceOf(text) }
}

function traceOf(path: string): unknown {
  const [document] = parseAllDocuments(new TextDecoder().decode(readUserFile(path)))
  const fault = document === undefined ? 'it is empty' : document.errors?.[0]?.message
  if (document === undefined || fault !== undefined) {
    throw new StarlingError('bad-scenario', `--churn: ${path} is no trace: ${fault}`, { path })
  }
  return (document as { toJS(): unknown }).toJS()
}

/** What --liars names, of so many peers. */
export function liarsOf(text: string, peers: number): unknown {
  const [first, ...attack] = text.split(':')
  const number = Number(first)
  if ((first ?? '').trim() === '' || !Number.isFinite(number) || number < 0) {
    throw new StarlingError(
      'bad-scenario',
      `--liars: '${text}' must be a number of peers or a share below 1, and an attack after a colon`,
      { value: text },
    )
  }
  return {
    count: number < 1 ? Math.round(number * peers) : number,
    ...(attack.length === 0 ? {} : { attack: attack.join(':') }),
  }
}

function tell(output: Output, peers: number, rounds: number, result: SimulationResult, real: number): void {
  const memory = process.memoryUsage.rss()
  const cpu = process.cpuUsage()
  const cpuSeconds = (cpu.user + cpu.system) / 1e6
  const list = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([kind, count]) => `${kind} ${count.toLocaleString('en')}`)
      .join(', ')
  output.line(`peers        ${peers.toLocaleString('en')}, ${result.alive.toLocaleString('en')} alive at the end`)
  output.line(`rounds       ${rounds}, ${result.steps.toLocaleString('en')} optimizer steps of all`)
  output.line(`kills        ${result.kills}, starts ${result.starts}`)
  output.line(`events       ${list(result.events)}`)
  if (Object.keys(result.failures).length > 0) output.line(`failed       ${list(result.failures)}`)
  output.line(
    `loss         ${result.loss.first.toPrecision(4)} -> ${result.loss.last.toPrecision(4)} (mean of the honest)`,
  )
  output.line(`disagreement ${result.disagreement.toPrecision(3)}`)
  output.line(
    `violations   ${result.violationCount === 0 ? 'none' : `${result.violationCount}, first ${JSON.stringify(result.violations[0])}`}`,
  )
  output.line(
    `time         ${formatDuration(result.seconds)} of virtual time in ${formatDuration(real)}: ${(result.seconds / real).toPrecision(3)} s in a second`,
  )
  output.line(`memory       ${formatBytes(memory)}`)
  output.line(`digest       ${result.digest}`)
  output.summary({
    peers,
    rounds,
    ...result,
    realSeconds: real,
    cpuSeconds,
    virtualPerReal: result.seconds / real,
    memoryBytes: memory,
  })
}

/** A bar on a terminal; a line now and then elsewhere, or a record with --json. */
function createShow(output: Output, rounds: number): { update(progress: SimulationProgress): void; stop(): void } {
  if (output.live) {
    const bar = new SingleBar({
      format: '{bar} {percentage} %  round {round} of {rounds}  {virtual} virtual  {peers} peers  {finished} through',
      hideCursor: true,
      fps: 4,
    })
    bar.start(1, 0, { round: '0.0', rounds, virtual: '0 s', peers: 0, finished: 0 })
    return {
      update: ({ seconds, round, peers, finished }) =>
        bar.update(round / rounds, { round: round.toFixed(1), virtual: formatDuration(seconds), peers, finished }),
      stop: () => bar.stop(),
    }
  }
  let last = performance.now()
  return {
    update(progress) {
      if (performance.now() - last < LINE_INTERVAL) return
      last = performance.now()
      const { seconds, round, peers, finished } = progress
      output.record({ kind: 'progress', ...progress })
      if (!output.json) {
        output.line(
          `round ${round.toFixed(1)} of ${rounds}  ${formatDuration(seconds)} virtual  ${peers} peers  ${finished} through`,
        )
      }
    },
    stop() {},
  }
}
