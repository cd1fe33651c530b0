import { Command, InvalidArgumentError, Option } from 'commander'
import type { Plans } from '../../../bench/pipeline/plans.ts'
import type { Throughput } from '../../../bench/pipeline/throughput.ts'
import { jsonOption, whole } from '../../options.ts'
import { createOutput, type Output, table } from '../../output.ts'

interface PipelineBenchFlags {
  part?: 'throughput' | 'plans'
  stages?: number[]
  layers?: number
  seconds?: number
  microbatches?: number
  codec?: 'float32' | 'float16' | 'int8'
  engine?: 'native' | 'wasm' | 'js'
  json?: true
}

/** Numbers of stages to measure, with commas between. */
function counts(text: string): number[] {
  const numbers = text.split(',').map(Number)
  if (numbers.every((number) => Number.isInteger(number) && number >= 1 && number <= 16)) return numbers
  throw new InvalidArgumentError('Must be numbers of stages from 1 to 16 with commas between, as in 1,2,4.')
}

/** `starling bench pipeline`: what stages cost and give. */
export function benchPipeline(): Command {
  return new Command('pipeline')
    .description('a model in stages, each a process, against the same model in one; and plans of paths over slow links')
    .addOption(new Option('--part <name>', 'measure this part only (default: both)').choices(['throughput', 'plans']))
    .addOption(new Option('--stages <counts>', 'numbers of stages to measure (default: 1,2,4)').argParser(counts))
    .addOption(new Option('--layers <count>', 'layers of the model (default: 4)').argParser(whole(1, 64)))
    .addOption(new Option('--microbatches <count>', 'microbatches of a step (default: 4)').argParser(whole(1, 16)))
    .addOption(
      new Option('--codec <name>', 'how activations travel (default: float16)').choices(['float32', 'float16', 'int8']),
    )
    .addOption(new Option('--seconds <count>', 'of each measurement (default: 20)').argParser(whole(1, 3_600)))
    .addOption(
      new Option('--engine <name>', 'engine to compute with (default: the best one here)').choices([
        'native',
        'wasm',
        'js',
      ]),
    )
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling bench pipeline --json')
    .action(async ({ json, part, ...options }: PipelineBenchFlags) => {
      const output = createOutput(json === true)
      const onPart = (what: string): void => output.note(`measuring ${what} ...`)
      const summary: { throughput?: Throughput; plans?: Plans } = {}
      if (part !== 'plans') {
        const { benchThroughput } = await import('../../../bench/pipeline/throughput.ts')
        summary.throughput = await benchThroughput({ ...options, onPart })
        for (const row of summary.throughput.stages) output.record({ kind: 'stages', ...row })
        printThroughput(output, summary.throughput)
      }
      if (part !== 'throughput') {
        const { benchPlans } = await import('../../../bench/pipeline/plans.ts')
        summary.plans = await benchPlans({ onPlan: (name) => onPart(`plan ${name}`) })
        for (const row of summary.plans.plans) output.record({ kind: 'plan', ...row })
        printPlans(output, summary.plans)
      }
      output.summary({ bench: 'pipeline', ...summary })
    })
}

function printPlans(output: Output, { plans, nodes, stages, microbatches, forward, near, far }: Plans): void {
  const [first] = plans
  const rows = plans.map(({ plan, keep, simulated, measured }) => [
    plan,
    `${keep} of ${stages}`,
    `${(simulated / 1_000).toFixed(2)} s`,
    `${(measured / 1_000).toFixed(2)} s`,
    `${((100 * measured) / (first?.measured ?? Number.NaN)).toFixed(0)} %`,
  ])
  output.line()
  output.line(table(['plan', 'stages', 'simulated', 'measured', 'of sequential'], rows))
  output.line()
  output.line(
    `${nodes} nodes in two regions, ${microbatches} microbatches of each of two data peers; a stage takes ${forward} ms forward, a way ${near} ms inside a region and ${far} ms across. ` +
      'Medians of a data peer’s steps.',
  )
}

function printThroughput(output: Output, figures: Throughput): void {
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`
  const rows = [
    [
      'whole',
      1,
      figures.whole.threads,
      Math.round(figures.whole.tokensPerSecond),
      `${figures.whole.stepMilliseconds.toFixed(0)} ms`,
      percent(1),
      '–',
      '–',
      '–',
    ],
    ...figures.stages.map((row) => [
      row.stages,
      row.peers,
      row.threads,
      Math.round(row.tokensPerSecond),
      `${row.stepMilliseconds.toFixed(0)} ms`,
      percent(row.share),
      percent(row.bubbles),
      percent(row.transfer),
      row.bytesPerToken.toFixed(0),
    ]),
  ]
  const head = [
    'stages',
    'processes',
    'threads',
    'tokens/s',
    'step',
    'of whole',
    'bubbles',
    'hand-overs',
    'bytes/token',
  ]
  output.line()
  output.line(table(head, rows))
  output.line()
  output.line(
    `${figures.model} with ${figures.layers} layers, ${figures.batch} rows of ${figures.context} tokens in ${figures.microbatches} microbatches, ${figures.codec}; ${figures.cores} cores. ` +
      'Bubbles: time in which holders did not work on their stage. Hand-overs: their share of a microbatch’s way, work included.',
  )
}
