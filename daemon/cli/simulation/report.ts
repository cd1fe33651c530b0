/** What `starling simulate` shows while it runs and at the end. */
import { SingleBar } from 'cli-progress'
import type { Scenario, SimulationProgress, SimulationResult } from '../../../simulator/index.ts'
import { formatBytes, formatDuration } from '../../view/index.ts'
import type { Output } from '../output.ts'

/** Milliseconds between two plain lines of progress. */
const LINE_INTERVAL = 10_000

/** What was simulated, what came of it, and how long that took on this machine. */
export interface Told {
  scenario: Scenario
  result: SimulationResult
  realSeconds: number
  /** The command that does the same again; said where something was found that must never be. */
  reproduce: string
}

/** The result of one seed. */
export function tell(output: Output, { scenario, result, realSeconds, reproduce }: Told): void {
  const { peers, rounds } = scenario
  const memory = process.memoryUsage.rss()
  const cpu = process.cpuUsage()
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
  output.line(`violations   ${violationsOf(result)}`)
  if (result.violationCount > 0) output.line(`again        ${reproduce}`)
  output.line(
    `time         ${formatDuration(result.seconds)} of virtual time in ${formatDuration(realSeconds)}: ${(result.seconds / realSeconds).toPrecision(3)} s in a second`,
  )
  output.line(`memory       ${formatBytes(memory)}`)
  output.line(`digest       ${result.digest}`)
  output.summary({
    peers,
    rounds,
    seed: scenario.seed,
    ...result,
    ...(result.violationCount > 0 ? { reproduce } : {}),
    realSeconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    virtualPerReal: result.seconds / realSeconds,
    memoryBytes: memory,
  })
}

/** One line for one seed of several. */
export function tellSeed(output: Output, { scenario, result, realSeconds, reproduce }: Told): void {
  const { seed } = scenario
  const { digest, violationCount } = result
  const loss = `loss ${result.loss.first.toPrecision(4)} -> ${result.loss.last.toPrecision(4)}`
  output.line(`seed ${seed}  digest ${digest.slice(0, 16)}  ${loss}  violations ${violationsOf(result)}`)
  if (violationCount > 0) output.line(`  again: ${reproduce}`)
  output.record({ kind: 'seed', seed, ...result, ...(violationCount > 0 ? { reproduce } : {}), realSeconds })
}

function violationsOf({ violationCount, violations }: SimulationResult): string {
  return violationCount === 0 ? 'none' : `${violationCount}, first ${JSON.stringify(violations[0])}`
}

/** A bar on a terminal; a line now and then elsewhere, or a record with --json. */
export function createShow(
  output: Output,
  rounds: number,
): { update(progress: SimulationProgress): void; stop(): void } {
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
