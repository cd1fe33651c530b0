import { Command, Option } from 'commander'
import type { SpeedFigures } from '../../../bench/spsa/speed.ts'
import { jsonOption, whole } from '../../options.ts'
import { createOutput, type Output, table } from '../../output.ts'

interface SpsaFlags {
  parameters?: number
  directions: 'sign' | 'gaussian'
  runs?: number
  json?: true
}

/** `starling bench spsa`: what one byte per gradient costs. */
export function benchSpsa(): Command {
  return new Command('spsa')
    .description('applying contributions of the strategy spsa, on one core against a copy of memory')
    .addOption(
      new Option('--parameters <count>', 'size of the model (default: 1, 10 and 100 million)').argParser(
        whole(1, 300_000_000),
      ),
    )
    .addOption(
      new Option('--directions <kind>', 'how directions are drawn').choices(['sign', 'gaussian']).default('sign'),
    )
    .addOption(new Option('--runs <count>', 'medians of that many runs').argParser(whole(1, 1000)))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling bench spsa --parameters 1000000 --json')
    .action(async ({ parameters, directions, runs, json }: SpsaFlags) => {
      const output = createOutput(json === true)
      const { benchSpeed } = await import('../../../bench/spsa/speed.ts')
      const speed = benchSpeed({
        directions,
        ...(parameters === undefined ? {} : { parameters: [parameters] }),
        ...(runs === undefined ? {} : { runs }),
      })
      for (const figures of speed) output.record({ kind: 'speed', ...figures })
      output.summary({ bench: 'spsa', speed })
      printSpeed(output, speed)
    })
}

function printSpeed(output: Output, speed: readonly SpeedFigures[]): void {
  const giga = (value: number): string => `${(value / 1e9).toFixed(2)} G/s`
  const rows = speed.map((figures) => [
    figures.parameters.toLocaleString('en'),
    figures.contributionsPerSecond.toPrecision(3),
    giga(figures.perSecond),
    giga(figures.perSecondAlone),
    figures.twin === undefined ? '–' : giga(figures.twin),
    giga(figures.perturb),
    giga(figures.refresh),
    `${(100 * figures.memoryShare).toFixed(1)} %`,
  ])
  const head = ['parameters', 'contributions/s', 'batched', 'one by one', 'twin', 'perturb', 'refresh', 'of a copy']
  output.line(table(head, rows))
  output.line()
  const [first] = speed
  if (first !== undefined) {
    output.line(
      `G/s: 10^9 parameters a second, times contributions; ${first.directions} directions, batches of ${first.batch}; medians of ${first.runs} runs, processor time`,
    )
  }
}
