import { existsSync, writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { dataOf, dataPathOf } from '../data.ts'
import { checkFrom, type From, openFrom } from '../from.ts'
import { jsonOption, type PipelineFlags, pipelineOptions, whole } from '../options.ts'
import { createOutput } from '../output.ts'
import { programName } from '../program.ts'

interface Flags extends PipelineFlags {
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
  const command = new Command('init')
    .description('write a commented run.yaml')
    .argument('[file]', 'file to write', 'run.yaml')
    .option('--name <name>', 'name of the run, for people')
    .option('--model <preset>', 'gpt-nano, gpt-micro, gpt-small, digits-cnn or digits-mlp')
    .option('--data <path|stories|digits>', 'a text file, or an embedded data set')
    .addOption(new Option('--steps <count>', 'optimizer steps of each peer').argParser(whole(1, 1_000_000_000)))
    .option('--strategy <name>', 'how the peers agree: noloco, gossip, spsa or pipeline (default: noloco)')
    .addOption(new Option('--seed <number>', 'all randomness of the run starts here').argParser(whole(0)))
    .option('--from <path>', "parameters to start from: a checkpoint's folder, a node's or swarm's, or a .safetensors")
    .option('--force', 'replace the file if it exists')
  for (const option of [...pipelineOptions(), jsonOption()]) command.addOption(option)
  return command
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

/** Options of a run, beside the weights, that `init` and `swarm` have in common. */
type RunFlags = Pick<Flags, 'name' | 'model' | 'data' | 'steps' | 'strategy' | 'seed' | keyof PipelineFlags> & {
  /** Peers that the run will have at least, where that is known. */
  peers?: number
}

/** The options of a run that these flags say. */
async function runOptions(flags: RunFlags, from: From | undefined): Promise<RunOptions> {
  const pipeline = pipelineSection(flags)
  const data = (await dataOf(flags.data)) ?? from?.run?.data
  const model = flags.model === undefined ? from?.run?.model : { preset: flags.model as never }
  return {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(model === undefined ? {} : { model }),
    ...(from === undefined ? {} : { weights: from.file }),
    ...(data === undefined ? {} : { data }),
    ...(flags.steps === undefined ? {} : { training: { steps: flags.steps } as never }),
    ...(flags.strategy === undefined ? {} : { strategy: { name: flags.strategy, ...pipeline } }),
  }
}

/**
 * A pipeline for a known number of peers, when nobody said how many stages: as many as the peers beside the one with data can hold one each, of those numbers that
 * make stages alike.
 */
function withStages(options: RunOptions, flags: RunFlags, build: (options: RunOptions) => Run): RunOptions {
  const { strategy, stages, peers } = flags
  if (strategy !== 'pipeline' || stages !== undefined || peers === undefined) return options
  const inStages = (count: number): RunOptions => ({
    ...options,
    strategy: { ...options.strategy, name: 'pipeline', stages: count },
  })
  const { cut } = build({ ...inStages(1), strategy: { name: 'pipeline', stages: 1 } })
  const layers = (cut?.layers ?? []).reduce((sum, count) => sum + count, 0)
  let count = Math.max(1, Math.min(peers - 1, layers))
  while (layers % count !== 0) count -= 1
  return inStages(count)
}

/** What flags say of a pipeline. Throws StarlingError 'usage' for another strategy. */
function pipelineSection({ strategy, stages, recovery, routing }: RunFlags): Record<string, unknown> {
  const section = Object.fromEntries(
    Object.entries({ stages, recovery, routing }).filter(([, value]) => value !== undefined),
  )
  const [key] = Object.keys(section)
  if (key !== undefined && strategy !== 'pipeline')
    throw new StarlingError('usage', `--${key} is for --strategy pipeline, not for ${strategy ?? 'noloco'}`)
  return section
}

/** The keys of a manifest that options set, as the user gave them. */
const FLAGS: Record<string, string> = {
  'model.preset': '--model',
  'strategy.name': '--strategy',
  'strategy.stages': '--stages',
  'strategy.recovery': '--recovery',
  'strategy.routing': '--routing',
  'training.steps': '--steps',
  name: '--name',
  seed: '--seed',
}

/** The run of these flags. Throws StarlingError 'bad-manifest' in the words of the command line, and what {@link checkFrom} throws. */
export async function runFromFlags(flags: Parameters<typeof runOptions>[0], from?: From): Promise<Run> {
  const { buildRun } = await import('../../run/index.ts')
  const options = await runOptions(flags, from)
  try {
    const run = buildRun(withStages(options, flags, buildRun))
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

type RunOptions = Parameters<typeof import('../../run/index.ts').buildRun>[0]
type Run = ReturnType<typeof import('../../run/index.ts').buildRun>

/** What the options of a pipeline mean. */
const PIPELINE_NOTES = ` Each holds a part of the model:
# stages: how many, or the layers of each. microbatches: of one step; they divide the batch. places: stages that one peer has room for.
# dataPeers: peers with data, embedding and output. codec: float32, float16 or int8 for what travels. replicas: holders wanted for each stage.
# routing: sequential, random (any holder of each stage), twins (CheckFree+: half of them swap stages), skip (SkipPipe: some stages are left out; skip).
# recovery of a stage that died: checkfree (mean of its neighbours, by gradient norm), uniform, copy, random, checkpoint (all go back; checkpointEvery).
# rateAfterRecovery: factor of its learning rate afterwards. norms: before-clip or after-clip. inFlight: microbatches kept at a stage.
# outer: NoLoCo between the holders of one stage.`

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

# How the peers agree.${manifest.strategy.name === 'pipeline' ? PIPELINE_NOTES : ''}
${section('strategy', manifest.strategy)}

# Who may take part: mode open, or allow-list with peers: [peer ids].
${section('admission', manifest.admission)}
`
}
