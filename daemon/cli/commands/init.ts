import { existsSync, writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { dataOf, dataPathOf } from '../data.ts'
import { checkFrom, type From, openFrom } from '../from.ts'
import { jsonOption, whole } from '../options.ts'
import { createOutput } from '../output.ts'
import { programName } from '../program.ts'

interface Flags {
  name?: string
  model?: string
  data?: string
  steps?: number
  strategy?: string
  seed?: number
  from?: string
  force?: true
  json?: true
}

/** `starling init`: a commented run.yaml. */
export function init(): Command {
  return new Command('init')
    .description('write a commented run.yaml')
    .argument('[file]', 'file to write', 'run.yaml')
    .option('--name <name>', 'name of the run, for people')
    .option('--model <preset>', 'gpt-nano, gpt-micro, gpt-small, digits-cnn or digits-mlp')
    .option('--data <path|stories|digits>', 'a text file, or an embedded data set')
    .addOption(new Option('--steps <count>', 'optimizer steps of each peer').argParser(whole(1, 1_000_000_000)))
    .option('--strategy <name>', 'how the peers agree')
    .addOption(new Option('--seed <number>', 'all randomness of the run starts here').argParser(whole(0)))
    .option('--from <path>', "parameters to start from: a checkpoint's folder, a node's or swarm's, or a .safetensors")
    .option('--force', 'replace the file if it exists')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ starling init run.yaml --data my.txt --steps 2000 && starling start run.yaml',
    )
    .action(async (file: string, flags: Flags) => {
      const output = createOutput(flags.json === true)
      if (existsSync(file) && flags.force !== true)
        throw new StarlingError('folder-exists', `${file} exists; name another file, or replace it with --force`)
      const from = flags.from === undefined ? undefined : await openFrom(flags.from)
      const run = await runFromFlags(flags, from)
      const text = await commented(run)
      try {
        writeFileSync(file, text)
      } catch (error) {
        throw new StarlingError(
          'file-unreadable',
          `${file} cannot be written: ${(error as Error).message}`,
          { file },
          { cause: error },
        )
      }
      const path = dataPathOf(flags.data)
      const files = [
        ...(path === undefined ? [] : [` --data ${path}`]),
        ...(flags.from === undefined ? [] : [` --from ${flags.from}`]),
      ]
      output.line(`Wrote ${file}. Look at it, then: ${programName()} start ${file}${files.join('')}`)
      output.summary({ file, run: run.id, name: run.manifest.name })
    })
}

/** The options of a run that these flags say. */
async function runOptions(
  flags: Pick<Flags, 'name' | 'model' | 'data' | 'steps' | 'strategy' | 'seed'>,
  from: From | undefined,
): Promise<Parameters<typeof import('../../run/index.ts').buildRun>[0]> {
  const data = (await dataOf(flags.data)) ?? from?.run?.data
  const model = flags.model === undefined ? from?.run?.model : { preset: flags.model as never }
  return {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(model === undefined ? {} : { model }),
    ...(from === undefined ? {} : { weights: from.file }),
    ...(data === undefined ? {} : { data }),
    ...(flags.steps === undefined ? {} : { training: { steps: flags.steps } as never }),
    ...(flags.strategy === undefined ? {} : { strategy: { name: flags.strategy } }),
  }
}

/** The keys of a manifest that options set, as the user gave them. */
const FLAGS: Record<string, string> = {
  'model.preset': '--model',
  'strategy.name': '--strategy',
  'training.steps': '--steps',
  name: '--name',
  seed: '--seed',
}

/** The run of these flags. Throws StarlingError 'bad-manifest' in the words of the command line, and what {@link checkFrom} throws. */
export async function runFromFlags(flags: Parameters<typeof runOptions>[0], from?: From): Promise<Run> {
  const { buildRun } = await import('../../run/index.ts')
  const options = await runOptions(flags, from)
  try {
    const run = buildRun(options)
    if (from !== undefined) await checkFrom(from, run)
    return run
  } catch (error) {
    if (!(error instanceof StarlingError) || error.code !== 'bad-manifest') throw error
    const text = error.message
      .replace(/^(options(:\d+)?|the manifest is not valid): /, '')
      .replace(/^[\w.]+/, (key) => FLAGS[key] ?? key)
    throw new StarlingError('bad-manifest', text, error.data, { cause: error })
  }
}

type Run = ReturnType<typeof import('../../run/index.ts').buildRun>

/** The run as YAML, each section with what can stand there. The defaults are shown as comments with their values. */
async function commented(run: Run): Promise<string> {
  const { stringify } = await import('yaml')
  const { manifest, training, model } = run
  const section = (name: string, value: unknown): string => stringify({ [name]: value }).trimEnd()
  const { optimizer } = training
  const defaults: [string, unknown, string][] = [
    ['batch', training.batch, 'rows of each optimizer step, at each peer'],
    ['steps', training.steps, 'optimizer steps of each peer; the length of the schedule'],
    ['optimizer', optimizer.name, 'adamw or sgd'],
    ['learningRate', optimizer.learningRate, 'peak of the schedule'],
    ['warmup', training.warmup, 'steps of linear rise; a cosine falls afterwards'],
    ['finalLearningRate', training.finalRate, 'where the cosine ends, as a share of the peak'],
    ['clip', training.clip, 'largest norm of the gradient; 0: off'],
    ['weightDecay', optimizer.weightDecay, 'decoupled'],
    ['evaluateEvery', training.evaluateEvery, 'steps between two looks at the validation data'],
  ]
  const given = manifest.training as Record<string, unknown>
  const trainingLines = defaults.map(
    ([key, value, why]) => `${given[key] === undefined ? '  # ' : '  '}${`${key}: ${value}`.padEnd(28)}# ${why}`,
  )
  return `# A run of Starling: "starling start" begins it, "starling join LINK" adds a machine.
# The hash of what is said here names the run; change anything and it is another run.
# Unknown keys are errors. What is left out gets its default (shown behind # below).

# For people.
name: ${JSON.stringify(manifest.name)}

# All randomness starts here: the first parameters, the order of the data, the choice of partners.
seed: ${manifest.seed}

# A preset (gpt-nano, gpt-micro, gpt-small, digits-cnn, digits-mlp), with changes beside it if wanted, e.g. "context: 128".
# This one is: ${JSON.stringify(model)}
# weights: {name, root, size} starts from a safetensors file instead of the seed; --from fills it in.
${section('model', manifest.model)}

# source: stories or digits (embedded), text (one file), images (IDX files). Files are named by their hash and travel between peers.
# shard.rule: shuffled (each peer all of it, in an order of its own), disjoint (each its part), same (all the same), dirichlet (skewed by label; alpha).
${section('data', manifest.data)}

training:
${trainingLines.join('\n')}

# How the peers agree.
${section('strategy', manifest.strategy)}

# Who may take part: mode open, or allow-list with peers: [peer ids].
${section('admission', manifest.admission)}
`
}
