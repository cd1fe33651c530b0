import { Command, Option } from 'commander'
import { jsonOption, whole } from '../options.ts'
import { createOutput, table } from '../output.ts'
import { benchPipeline } from './bench/pipeline.ts'
import { benchSpsa } from './bench/spsa.ts'

interface EngineFlags {
  engine?: 'native' | 'wasm' | 'js'
  preset?: 'gpt-nano' | 'gpt-micro'
  steps?: number
  threads?: number
  json?: true
}

/** `starling bench`: how fast the parts are on this machine. */
export function bench(): Command {
  const command = new Command('bench')
    .description('measure the parts of Starling on this machine')
    .addHelpText('after', '\nExample:\n  $ starling bench codec --json')
  command.addCommand(
    new Command('engine')
      .description('training steps of the text presets, one optimizer pass, one matrix product')
      .addOption(
        new Option('--engine <name>', 'engine to measure (default: the best one here)').choices([
          'native',
          'wasm',
          'js',
        ]),
      )
      .addOption(new Option('--preset <name>', 'measure this preset only').choices(['gpt-nano', 'gpt-micro']))
      .addOption(new Option('--steps <count>', 'steps of each preset (default: 30)').argParser(whole(4, 10_000)))
      .addOption(new Option('--threads <count>', 'threads for computing').argParser(whole(1, 1024)))
      .addOption(jsonOption())
      .addHelpText('after', '\nExample:\n  $ starling bench engine --preset gpt-nano --json')
      .action(async (flags: EngineFlags) => {
        const output = createOutput(flags.json === true)
        const { benchEngine, openEngine } = await import('../../../models/index.ts')
        const engine = await openEngine({
          ...(flags.engine === undefined ? {} : { prefer: flags.engine }),
          ...(flags.threads === undefined ? {} : { threads: flags.threads }),
        })
        output.line(`${engine.name}: ${engine.why}`)
        const report = benchEngine(engine, {
          ...(flags.preset === undefined ? {} : { presets: [flags.preset] }),
          ...(flags.steps === undefined ? {} : { steps: flags.steps }),
        })
        for (const model of report.models) output.record({ kind: 'model', ...model })
        output.summary({ bench: 'engine', ...report })
        output.line()
        const head = ['model', 'batch', 'step', 'forward', 'tokens/s', 'operations', 'outside products']
        const rows = report.models.map((model) => [
          model.preset,
          `${model.rows} × ${model.context}`,
          `${model.stepMilliseconds.toFixed(1)} ms`,
          `${model.forwardMilliseconds.toFixed(1)} ms`,
          Math.round(model.tokensPerSecond),
          Math.round(model.operations),
          `${(100 * model.outsideProducts).toFixed(0)} %`,
        ])
        output.line(table(head, rows))
        output.line()
        output.line(
          `AdamW ${(report.adamw.parametersPerSecond / 1e9).toFixed(2)} G parameters/s on one core; product of two ${report.product.size}² matrices ${report.product.gflops.toFixed(0)} GFLOP/s`,
        )
      }),
  )
  command.addCommand(
    new Command('codec')
      .description('the codes of tensors: speed on one core against a copy of memory, bytes and error')
      .addOption(new Option('--runs <count>', 'medians of that many runs').argParser(whole(1, 1000)))
      .addOption(jsonOption())
      .addHelpText('after', '\nExample:\n  $ starling bench codec')
      .action(async (flags: { runs?: number; json?: true }) => {
        const output = createOutput(flags.json === true)
        const { benchCodec } = await import('../../bench/codec.ts')
        const report = benchCodec(flags.runs === undefined ? {} : { runs: flags.runs })
        for (const figures of report.codecs) output.record({ kind: 'codec', ...figures })
        output.summary({ bench: 'codec', ...report })
        const speed = (value: number): string =>
          `${value.toFixed(0)} MB/s (${((100 * value) / report.copy).toFixed(0)} %)`
        const rows = report.codecs.map(({ codec, bytes, encode, decode, meanSquaredError }) => [
          codec,
          (bytes / report.values).toFixed(3),
          speed(encode),
          speed(decode),
          meanSquaredError.toExponential(2),
        ])
        output.line(table(['code', 'bytes/value', 'encode', 'decode', 'squared error'], rows))
        output.line()
        const memories = report.memories.map(({ memory, codec, send }) => [`${codec} with ${memory}`, speed(send)])
        output.line(table(['memory', 'encode and remember'], memories))
        output.line()
        output.line(
          `${report.values.toLocaleString('en')} values of N(0, 1); a copy of the same memory does ${report.copy.toFixed(0)} MB/s`,
        )
      }),
  )
  command.addCommand(
    new Command('stream')
      .description('bulk pull between two processes against a plain socket in the same run')
      .addOption(new Option('--mebibytes <count>', 'size of what is pulled (default: 256)').argParser(whole(1, 4096)))
      .addOption(new Option('--runs <count>', 'medians of that many runs').argParser(whole(1, 100)))
      .addOption(jsonOption())
      .addHelpText('after', '\nExample:\n  $ starling bench stream --mebibytes 64')
      .action(async (flags: { mebibytes?: number; runs?: number; json?: true }) => {
        const output = createOutput(flags.json === true)
        const { benchStream } = await import('../../bench/stream/index.ts')
        const figures = await benchStream({
          ...(flags.mebibytes === undefined ? {} : { bytes: flags.mebibytes * 2 ** 20 }),
          ...(flags.runs === undefined ? {} : { runs: flags.runs }),
        })
        output.summary({ bench: 'stream', ...figures })
        const row = (name: string, speed: { median: number; min: number; max: number }): string[] => [
          name,
          ...[speed.median, speed.min, speed.max].map((value) => `${value.toFixed(0)} MB/s`),
        ]
        output.line(
          table(
            ['', 'median', 'least', 'most'],
            [row('socket', figures.socket), row('ask', figures.ask), row('pull', figures.pull)],
          ),
        )
        output.line()
        output.line(
          `the pull has ${(100 * figures.share).toFixed(0)} % of the socket's speed; peak memory ${figures.peakMemory.giver.toFixed(0)} MB (giver) and ${figures.peakMemory.taker.toFixed(0)} MB (taker)`,
        )
      }),
  )
  command.addCommand(benchSpsa())
  command.addCommand(benchPipeline())
  return command
}
