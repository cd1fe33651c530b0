/** What `starling swarm` starts: a run from its flags, a file or an earlier swarm, and the folder it lives in. */
import { basename, resolve } from 'node:path'
import { StarlingError } from '../../protocols/index.ts'
import { chooseFolder, type SwarmFolder } from '../swarm/index.ts'
import { runFromFlags } from './commands/init.ts'
import { folderName } from './commands/start.ts'
import { dataPathOf } from './data.ts'
import { type From, openFrom, withWeights } from './from.ts'
import type { PipelineFlags } from './options.ts'
import { HOME } from './place.ts'
import { readUserFile } from './run-file.ts'

/** Options of the command. */
export interface SwarmFlags extends PipelineFlags {
  peers?: number
  strategy?: string
  model?: string
  data?: string
  from?: string
  steps?: number
  seed?: number
  name?: string
  dataFolder?: string
  resume?: true
  port?: number
  open?: true
  stay?: true
  restart: boolean
  local?: true
  threads?: number
  engine?: 'native' | 'wasm' | 'js'
  attack?: string[]
  json?: true
}

/** What the run fixes, and neither a file nor --resume leaves open. */
const FIXED = ['model', 'strategy', 'stages', 'recovery', 'routing', 'steps', 'seed', 'name', 'from'] as const

/** Peers when nobody said how many. */
const PEERS = 4

type Run = ReturnType<typeof import('../run/index.ts').buildRun>

/** The folder and the run in it: made from the flags, or read back. Nothing is started, and a mistake leaves nothing behind. */
export async function prepareSwarm(
  file: string | undefined,
  flags: SwarmFlags,
): Promise<{ folder: SwarmFolder; run: Run; peers: number; data?: string; weights?: string }> {
  const { filesOf, formatRun, openSource, parseRun, sourceOf } = await import('../run/index.ts')
  const home = resolve(HOME)
  if (flags.resume === true && file !== undefined)
    throw new StarlingError('usage', `--resume goes on with the run in its folder; leave ${file} out`)
  for (const key of FIXED) {
    if (flags[key] === undefined) continue
    if (flags.resume === true)
      throw new StarlingError(
        'usage',
        `--${key} cannot be changed with --resume: the run fixes it; leave --resume out to start a new run`,
      )
    // A file cannot hold the weights, only their hash.
    if (file !== undefined && key !== 'from')
      throw new StarlingError(
        'usage',
        `--${key} says what ${file} says already; change it there, or leave the file out`,
      )
  }
  const from = flags.from === undefined ? undefined : await openFrom(flags.from)
  const made = flags.resume === true ? undefined : await newRun(file, flags, from)
  const folder = chooseFolder({
    home,
    resume: flags.resume === true,
    name: folderName(made?.manifest.name ?? 'run'),
    ...(flags.dataFolder === undefined ? {} : { named: flags.dataFolder }),
  })
  const { earlier } = folder
  const run = made ?? parseRun(earlier?.yaml ?? '', 'run.yaml')
  const peers = flags.peers ?? earlier?.peers ?? PEERS
  const path = dataPathOf(flags.data) ?? (flags.data === undefined ? from?.run?.dataPath : undefined)
  const data = path === undefined ? earlier?.data : resolve(path)
  if (path !== undefined && made !== undefined) {
    // What the first peer would refuse is refused here, before anything is written.
    const paths = Object.fromEntries(filesOf(made.manifest.data).map((file) => [file.root, path]))
    await openSource(sourceOf(made.manifest.data, made.model, made.manifest.seed, 'first', paths))
  }
  const weights = from?.path ?? earlier?.weights
  const files = { ...(data === undefined ? {} : { data }), ...(weights === undefined ? {} : { weights }) }
  folder.record({
    run: run.id,
    peers: Math.max(peers, earlier?.peers ?? 0),
    yaml: earlier?.yaml ?? formatRun(run),
    ...files,
  })
  return { folder, run, peers, ...files }
}

/** The run of a file or of the flags. */
async function newRun(file: string | undefined, flags: SwarmFlags, from: From | undefined): Promise<Run> {
  if (file === undefined) return runFromFlags({ ...flags, peers: flags.peers ?? PEERS, ...named(flags, from) }, from)
  const { parseRun } = await import('../run/index.ts')
  const run = parseRun(new TextDecoder().decode(readUserFile(file)), basename(file))
  return from === undefined ? run : withWeights(run, from)
}

/** A run without a name is called after its data. */
function named(flags: SwarmFlags, from: From | undefined): { name: string } {
  if (flags.name !== undefined) return { name: flags.name }
  if (flags.data === undefined && from?.run !== undefined) return { name: from.run.name }
  const path = dataPathOf(flags.data)
  const base =
    path
      ?.split(/[\\/]/)
      .pop()
      ?.replace(/\.[^.]*$/, '') ??
    flags.data ??
    'stories'
  return { name: folderName(base) }
}
