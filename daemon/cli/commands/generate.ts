import { Command, Option } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { openModel } from '../model.ts'
import { jsonOption, real, whole } from '../options.ts'
import { createOutput, plain } from '../output.ts'

interface Flags {
  prompt: string
  tokens: number
  temperature: number
  topK: number
  seed: number
  threads?: number
  engine?: 'native' | 'wasm' | 'js'
  json?: true
}

/** `starling generate CHECKPOINT`: text from a trained model. */
export function generate(): Command {
  return new Command('generate')
    .description('write text with a trained model')
    .argument('<checkpoint>', 'a checkpoint, or the data folder of a node or swarm')
    .option('--prompt <text>', 'how the text begins', '')
    .addOption(new Option('--tokens <count>', 'tokens to add').argParser(whole(1, 100_000)).default(200))
    .addOption(
      new Option('--temperature <number>', '0 always takes the likeliest token').argParser(real(0, 10)).default(0.8),
    )
    .addOption(
      new Option('--top-k <count>', 'draw from the k likeliest tokens only; 0: all')
        .argParser(whole(0, 1_000_000))
        .default(40),
    )
    .addOption(
      new Option('--seed <number>', 'the same seed writes the same text').argParser(whole(0, 0xffffffff)).default(0),
    )
    .addOption(new Option('--threads <count>', 'threads for computing').argParser(whole(1, 1024)))
    .addOption(new Option('--engine <name>', 'engine to compute with').choices(['native', 'wasm', 'js']))
    .addOption(jsonOption())
    .addHelpText('after', "\nExample:\n  $ starling generate .starling/runs/stories-1 --prompt 'Tom had' --tokens 120")
    .action(async (checkpoint: string, flags: Flags) => {
      const output = createOutput(flags.json === true)
      const { prompt, tokens, temperature, topK, seed } = flags
      const model = await openModel(checkpoint, { ...pick(flags), needData: false })
      try {
        if (model.run.model.architecture !== 'decoder') {
          throw new StarlingError(
            'not-a-text-model',
            `${model.path} holds a model of images (${model.run.model.architecture}); it cannot write`,
          )
        }
        const before = performance.now()
        const text = model.trainer.generate({ prompt, tokens, temperature, topK, seed })
        output.line(plain(prompt + text))
        output.summary({
          prompt,
          text,
          tokens,
          temperature,
          topK,
          seed,
          step: model.manifest.step,
          checkpoint: model.path,
          milliseconds: Math.round(performance.now() - before),
        })
      } finally {
        model.trainer.dispose()
      }
    })
}

function pick({ engine, threads }: Flags): { engine?: 'native' | 'wasm' | 'js'; threads?: number } {
  return { ...(engine === undefined ? {} : { engine }), ...(threads === undefined ? {} : { threads }) }
}
