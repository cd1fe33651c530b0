/** A trained model outside a run: for `generate` and `evaluate`. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import type { DataSpec, Dataset, Engine, Trainer } from '../../models/index.ts'
import { manifestBytes, StarlingError } from '../../protocols/index.ts'
import type { Run } from '../run/index.ts'
import type { CheckpointManifest } from '../storage/index.ts'
import { stageName } from '../view/index.ts'

/** Where a checkpoint may lie below what the user named, the best first: the merged model, the newest checkpoint, the first peer's. */
const MANIFEST = 'manifest.json'

/** The checkpoint folder meant by a path: itself, or the finished model or newest checkpoint of a data folder or of a swarm's folder. */
export function findCheckpoint(path: string): string {
  const folder = resolve(path)
  if (!existsSync(folder)) throw new StarlingError('checkpoint-missing', `There is no ${path}`, { path })
  if (!statSync(folder).isDirectory()) {
    // A file inside a checkpoint names it as well.
    const parent = resolve(folder, '..')
    if (existsSync(join(parent, MANIFEST))) return parent
    throw new StarlingError('checkpoint-missing', `${path} is not a checkpoint: a folder with ${MANIFEST} is wanted`, {
      path,
    })
  }
  const below = peersOf(folder)
  // Of a pipeline's peers only those with data have a finished model, and the others' checkpoints hold stages.
  const found =
    search(folder) ??
    below.map((peer) => join(peer, 'final')).find(isCheckpoint) ??
    below.map(search).find((place) => place !== undefined)
  if (found !== undefined) return found
  throw new StarlingError(
    'checkpoint-missing',
    `${path} holds no checkpoint: neither ${MANIFEST}, nor final/, nor checkpoints/`,
    { path },
  )
}

const isCheckpoint = (place: string): boolean => existsSync(join(place, MANIFEST))

function search(folder: string): string | undefined {
  if (isCheckpoint(folder)) return folder
  if (isCheckpoint(join(folder, 'final'))) return join(folder, 'final')
  const checkpoints = join(folder, 'checkpoints')
  if (!existsSync(checkpoints)) return undefined
  // Their names begin with a growing number of fixed width.
  return readdirSync(checkpoints)
    .sort()
    .reverse()
    .map((name) => join(checkpoints, name))
    .find(isCheckpoint)
}

function peersOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /^peer-\d+$/.test(name))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
    .map((name) => join(folder, name))
}

export interface OpenedModel {
  path: string
  manifest: CheckpointManifest
  run: Run
  engine: Engine
  trainer: Trainer
  dataset: Dataset
}

/** Opens a checkpoint for use. `data` replaces the run's data (same kind); without it the run's own validation split is read. */
export async function openModel(
  path: string,
  options: { engine?: Engine['name']; threads?: number; data?: string; needData: boolean },
): Promise<OpenedModel> {
  const folder = findCheckpoint(path)
  const [{ heldParts, loadCheckpoint }, { openRun, openSource, sourceOf, filesOf, describeFiles }, models] =
    await Promise.all([import('../storage/index.ts'), import('../run/index.ts'), import('../../models/index.ts')])
  const { manifest, vectors } = await loadCheckpoint(folder, (name) => name === 'theta')
  const run = openRun(manifestBytes(manifest.manifest as object))
  const { spec, paths } = await chooseData()
  const dataset = await openSource(sourceOf(spec, run.model, run.manifest.seed, 'evaluation', paths))
  const engine = await models.openEngine({
    ...(options.engine === undefined ? {} : { prefer: options.engine }),
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  })
  const shared = SharedVectors.create(models.trainerVectors(run.model, run.training, false))
  const kernels = await loadKernels(shared)
  const theta = vectors.theta
  const held = heldParts(manifest.progress)
  if (held.length > 0) {
    const parts = held.map(({ stage }) => stageName(stage)).join(', ')
    const message = `The checkpoint ${folder} holds ${parts} of its model and not the whole, which a peer with data leaves in final/ when the run is done`
    throw new StarlingError('checkpoint-partial', message, { path: folder })
  }
  if (theta === undefined || theta.length !== shared.float32('theta').length) {
    throw new StarlingError(
      'checkpoint-corrupt',
      `The checkpoint ${folder} does not hold the parameters of its model`,
      { path: folder },
    )
  }
  shared.float32('theta').set(theta)
  const trainer = models.createTrainer({
    engine,
    kernels,
    vectors: shared,
    model: run.model,
    training: run.training,
    trains: false,
    dataset,
  })
  trainer.stepNumber = manifest.step
  return { path: folder, manifest, run, engine, trainer, dataset }

  /** The run's data; a small stand-in when none is needed and the run's file is elsewhere. */
  async function chooseData(): Promise<{ spec: DataSpec; paths: Record<string, string> }> {
    const own = run.manifest.data
    if (options.data === 'stories' || options.data === 'digits') {
      return { spec: models.dataSchema.parse({ source: options.data }), paths: {} }
    }
    if (options.data !== undefined) {
      const spec = models.dataSchema.parse(await describeFiles([options.data]))
      return {
        spec,
        paths: Object.fromEntries(filesOf(spec).map((file) => [file.root, resolve(options.data as string)])),
      }
    }
    const paths = Object.fromEntries(filesOf(own).map((file) => [file.root, nearby(folder, file.root)]))
    if (Object.values(paths).every((place) => place !== undefined))
      return { spec: own, paths: paths as Record<string, string> }
    if (!options.needData)
      return {
        spec: models.dataSchema.parse({
          source: own.source === 'text' ? 'stories' : 'digits',
          ...(own.source === 'text' ? { bytes: 20_000 } : { images: 100 }),
        }),
        paths: {},
      }
    const names = filesOf(own).map(({ name }) => name)
    throw new StarlingError(
      'data-missing',
      `The run's data (${names.join(', ')}) are not beside the checkpoint; name a file with --data`,
      { names },
    )
  }
}

/** A run's data file near a checkpoint: <data folder>/data/<root>, one or two folders up. */
export function nearby(checkpoint: string, root: string): string | undefined {
  return [join(checkpoint, '..', 'data', root), join(checkpoint, '..', '..', 'data', root)].find((place) =>
    existsSync(place),
  )
}
