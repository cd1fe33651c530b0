import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { SingleBar } from 'cli-progress'
import { Command, Option } from 'commander'
import { loadKernels, SharedVectors } from '../../../kernels/index.ts'
import { replay as replayContributions, replayVectors, StarlingError, weightRule } from '../../../protocols/index.ts'
import { formatBytes, formatDuration } from '../../view/index.ts'
import { FAILED } from '../errors.ts'
import { checkFrom, openFrom } from '../from.ts'
import { jsonOption, whole } from '../options.ts'
import { createOutput, type Output } from '../output.ts'
import { type OpenedLog, openRunLog } from '../run-log.ts'

interface Flags {
  from?: string
  out?: string
  upto?: number
  json?: true
}

/** `starling replay LOG`: a run's parameters from its contributions alone. */
export function replay(report: (code: number) => void): Command {
  return new Command('replay')
    .description("rebuild a run's parameters from its contributions alone, bit for bit (strategy spsa)")
    .argument('<log|folder>', 'contributions.log, or the folder of a swarm, a finished model or a stopped node')
    .option('--from <path>', 'the parameters that the run started from, where it names some that are not in the folder')
    .option('--out <file.safetensors>', 'write the parameters there')
    .addOption(new Option('--upto <step>', 'leave out what came after this step of each author').argParser(whole(0)))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling replay .starling/runs/stories-1 --out model.safetensors')
    .action(async (path: string, flags: Flags) => {
      const output = createOutput(flags.json === true)
      if (flags.out !== undefined) checkOut(flags.out)
      const log = await openRunLog(path)
      for (const line of log.damage) output.note(line)
      const weights = await weightsOf(log, flags.from)
      await rebuild(log, { ...flags, ...(weights === undefined ? {} : { weights }) }, output, report)
    })
}

/** Refuses a place where nothing can be written, before any work is done. */
function checkOut(path: string): void {
  if (existsSync(path)) throw new StarlingError('file-exists', `--out: ${path} exists; name another file`, { path })
  if (!existsSync(dirname(path)))
    throw new StarlingError('file-missing', `--out: there is no folder ${dirname(path)}`, { path })
}

/** The file of the run's common start; undefined where that is made from the seed. */
async function weightsOf(log: OpenedLog, from: string | undefined): Promise<string | undefined> {
  const { weights } = log.run.manifest.model
  if (from !== undefined) {
    if (weights === undefined) throw new StarlingError('usage', '--from: this run starts from its seed; leave it out')
    const opened = await openFrom(from)
    if (opened.file.root !== weights.root) {
      const message = `--from: ${opened.path} is not the file '${weights.name}' that the run starts from`
      throw new StarlingError('data-mismatch', message, { path: opened.path, wanted: weights.root })
    }
    await checkFrom(opened, log.run)
    return opened.path
  }
  if (weights === undefined || log.weights !== undefined) return log.weights
  const message = `The run starts from the file '${weights.name}', which is not beside ${log.path}; name it with --from`
  throw new StarlingError('file-missing', message, { path: log.path, root: weights.root })
}

async function rebuild(
  log: OpenedLog,
  flags: Flags & { weights?: string },
  output: Output,
  report: (code: number) => void,
): Promise<void> {
  const { run, options } = log
  const started = performance.now()
  const { layout } = run
  const authors = cut(log.authors, flags.upto)
  const contributions = [...authors.values()].reduce((sum, bytes) => sum + bytes.length, 0)
  output.line(`run         ${run.manifest.name} (${run.id})`)
  output.line(`model       ${layout.parameters.toLocaleString('en')} parameters`)
  output.line(`authors     ${authors.size}${log.excluded.length === 0 ? '' : `, ${log.excluded.length} excluded`}`)
  output.line(`contributed ${contributions.toLocaleString('en')}, every signature fits`)
  if (flags.upto === undefined) output.line(`set         ${log.digest}`)

  const vectors = SharedVectors.create(replayVectors(layout.length))
  const context = {
    kernels: loadKernels(vectors),
    float32: (name: string) => vectors.float32(name),
    int32: (name: string) => vectors.int32(name),
    bytes: (name: string) => vectors.bytes(name),
  }
  const { initialize, loadWeights } = await import('../../../models/index.ts')
  const base = context.float32('base')
  if (flags.weights === undefined) initialize(layout, run.model, run.manifest.seed, base)
  else await loadWeights(flags.weights, layout, base, { name: basename(flags.weights) })
  const show = createBar(output, contributions)
  try {
    const rule = weightRule(options, run.training.steps)
    await replayContributions(context, { run: run.id, rule, authors }, show.update)
  } finally {
    show.stop()
  }

  const { hashParameters } = await import('../../storage/index.ts')
  const sha256 = await hashParameters(layout, context.float32('theta'))
  const seconds = (performance.now() - started) / 1000
  output.line(`parameters  SHA-256 ${sha256}`)
  const recorded = flags.upto === undefined ? await recordedHash(log.path) : undefined
  if (recorded === sha256) output.line('            the same, to the bit, as the model beside the log')
  else if (recorded !== undefined) {
    output.line(`            NOT those of the model beside the log: ${recorded}`)
    report(FAILED)
  }
  if (flags.out !== undefined) {
    const bytes = await writeModel(flags.out, layout, context.float32('theta'))
    output.line(`written     ${flags.out}, ${formatBytes(bytes)}`)
  }
  output.line(`after ${formatDuration(seconds)}`)
  output.summary({
    run: run.id,
    name: run.manifest.name,
    log: log.path,
    authors: authors.size,
    contributions,
    excluded: log.excluded,
    ...(flags.upto === undefined ? { digest: log.digest } : { upto: flags.upto }),
    sha256,
    ...(recorded === undefined ? {} : { same: recorded === sha256 }),
    seconds: Math.round(seconds * 1000) / 1000,
    ...(flags.out === undefined ? {} : { out: flags.out }),
  })
}

/** The contributions up to a step of each author. */
function cut(authors: OpenedLog['authors'], upto: number | undefined): OpenedLog['authors'] {
  if (upto === undefined) return authors
  return new Map(
    [...authors]
      .map(([author, bytes]) => [author, bytes.subarray(0, upto)] as const)
      .filter(([, bytes]) => bytes.length > 0),
  )
}

/** SHA-256 of the parameters that the run ended with, if the log lies beside its finished model. */
async function recordedHash(path: string): Promise<string | undefined> {
  if (!existsSync(join(dirname(path), 'manifest.json'))) return undefined
  const { readCheckpointManifest } = await import('../../storage/index.ts')
  const { progress } = await readCheckpointManifest(dirname(path))
  return typeof progress.sha256 === 'string' ? progress.sha256 : undefined
}

/** Writes safetensors beside and renames, so that the file is whole or absent. Resolves to its bytes. */
async function writeModel(path: string, layout: OpenedLog['run']['layout'], theta: Float32Array): Promise<number> {
  const { layoutTensors, writeSafetensors } = await import('../../../models/index.ts')
  const { header, views, bytes } = writeSafetensors(layoutTensors(layout, theta), { format: 'pt' })
  const temporary = `${path}.${process.pid}.writing`
  try {
    const file = await open(temporary, 'wx')
    try {
      // Copied one by one: no file can be written from shared memory.
      for (const part of [header, ...views]) await file.writeFile(Uint8Array.from(part))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw new StarlingError('file-unwritable', `--out: ${path} cannot be written: ${(error as Error).message}`, {
      path,
    })
  }
  return bytes
}

/** A bar on a terminal, nothing elsewhere. */
function createBar(output: Output, all: number): { update(done: number): Promise<void>; stop(): void } {
  if (!output.live || all === 0) return { update: () => turn(), stop() {} }
  const bar = new SingleBar({
    format: '{bar} {percentage} %  {value} of {total}  {eta_formatted} left',
    clearOnComplete: true,
  })
  bar.start(all, 0)
  return {
    update(done) {
      bar.update(done)
      return turn()
    },
    stop: () => bar.stop(),
  }
}
