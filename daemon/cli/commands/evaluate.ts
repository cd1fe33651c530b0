import { Command, Option } from 'commander'
import { openModel } from '../model.ts'
import { jsonOption, whole } from '../options.ts'
import { createOutput, plain } from '../output.ts'

interface Flags {
  data?: string
  rows?: number
  threads?: number
  engine?: 'native' | 'wasm' | 'js'
  json?: true
}

/** `starling evaluate CHECKPOINT`: loss on data that were not trained on. */
export function evaluate(): Command {
  return new Command('evaluate')
    .description('loss of a trained model on the validation part of its data, or of other data')
    .argument('<checkpoint>', 'a checkpoint, or the data folder of a node or swarm')
    .option('--data <path|stories|digits>', "other data than the run's own")
    .addOption(new Option('--rows <count>', 'look at that many rows only').argParser(whole(1)))
    .addOption(new Option('--threads <count>', 'threads for computing').argParser(whole(1, 1024)))
    .addOption(new Option('--engine <name>', 'engine to compute with').choices(['native', 'wasm', 'js']))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling evaluate .starling/runs/stories-1 --json')
    .action(async (checkpoint: string, flags: Flags) => {
      const output = createOutput(flags.json === true)
      const { data, rows, threads, engine } = flags
      const model = await openModel(checkpoint, {
        ...(data === undefined ? {} : { data }),
        ...(threads === undefined ? {} : { threads }),
        ...(engine === undefined ? {} : { engine }),
        needData: true,
      })
      try {
        const report = model.trainer.evaluate('theta', rows)
        output.summary({ ...report, run: model.manifest.run, checkpoint: model.path, engine: model.engine.name })
        const accuracy = report.accuracy === undefined ? '' : `, ${(100 * report.accuracy).toFixed(1)} % right`
        const unit = model.dataset.kind === 'text' ? 'nats per token' : 'nats per image'
        output.line(
          plain(
            `${model.run.manifest.name} at step ${report.step}: loss ${report.loss.toFixed(4)} ${unit}${accuracy} (${report.samples.toLocaleString('en')} ${model.dataset.kind === 'text' ? 'tokens' : 'images'})`,
          ),
        )
      } finally {
        model.trainer.dispose()
      }
    })
}
