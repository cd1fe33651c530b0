/** What --from means: parameters that a run starts from, and the run that they come from. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { DataFile, DataSpec, ModelSpec } from '../../models/index.ts'
import { manifestBytes, StarlingError } from '../../protocols/index.ts'
import { findCheckpoint, nearby } from './model.ts'

/** Weights as the user named them. */
export interface From {
  /** The safetensors file. */
  path: string
  file: DataFile
  /** The run that trained them, if they lie in a checkpoint: its model and data are the new run's unless something else is asked for. */
  run?: { name: string; model: ModelSpec; data: DataSpec; dataPath?: string }
}

/** The safetensors file meant by a path: itself, or that of the checkpoint that {@link findCheckpoint} finds. */
export function findWeights(path: string): string {
  const place = resolve(path)
  if (!existsSync(place)) throw new StarlingError('file-missing', `--from: there is no ${path}`, { path })
  if (statSync(place).isDirectory()) return join(findCheckpoint(path), 'model.safetensors')
  if (place.endsWith('.safetensors')) return place
  throw new StarlingError('unknown-file', `--from: ${path} is neither a checkpoint's folder nor .safetensors`, { path })
}

/**
 * Looks at what --from names. Throws StarlingError 'file-missing', 'unknown-file', 'checkpoint-missing', 'checkpoint-corrupt', 'data-...'. Whether the
 * weights fit the model is seen by {@link checkFrom} once there is one.
 */
export async function openFrom(path: string): Promise<From> {
  const [{ describeWeights, filesOf, openRun }, { loadCheckpoint }] = await Promise.all([
    import('../run/index.ts'),
    import('../storage/index.ts'),
  ])
  const weights = findWeights(path)
  const file = await describeWeights(weights)
  const folder = dirname(weights)
  if (!existsSync(join(folder, 'manifest.json'))) return { path: weights, file }
  // Reads the tensors too: a damaged checkpoint is not another model.
  const checkpoint = await loadCheckpoint(folder, (vector) => vector === 'theta')
  const { manifest } = openRun(manifestBytes(checkpoint.manifest.manifest as object))
  const { weights: _, ...model } = manifest.model
  const dataPath = filesOf(manifest.data).map(({ root }) => nearby(folder, root))[0]
  const run = { name: manifest.name, model: model as ModelSpec, data: manifest.data }
  return { path: weights, file, run: { ...run, ...(dataPath === undefined ? {} : { dataPath }) } }
}

/**
 * The run of a run.yaml, with these weights in its manifest where it names none: another run, then, with a name of its own. Throws StarlingError
 * 'data-mismatch' when it names others, and as {@link checkFrom}.
 */
export async function withWeights(run: Run, from: From): Promise<Run> {
  const { weights } = run.manifest.model
  if (weights !== undefined && weights.root !== from.file.root) {
    const message = `--from: ${from.path} is not the file '${weights.name}' that the run starts from`
    throw new StarlingError('data-mismatch', message, { path: from.path, root: from.file.root, wanted: weights.root })
  }
  const { openRun } = await import('../run/index.ts')
  const made =
    weights === undefined
      ? openRun(manifestBytes({ ...run.manifest, model: { ...run.manifest.model, weights: from.file } }))
      : run
  await checkFrom(from, made)
  return made
}

type Run = ReturnType<typeof import('../run/index.ts').openRun>

/** Throws StarlingError 'weights-unfit' when the weights are not those of the run's model: before anything is started or written. */
export async function checkFrom(from: From, run: Run): Promise<void> {
  const { checkWeights } = await import('../run/index.ts')
  try {
    await checkWeights(from.path, run.layout)
  } catch (error) {
    const { code, message, data } = error as StarlingError
    if (code !== 'weights-unfit') throw error
    throw new StarlingError(code, message.replace(/^model\.weights: \S+/, `--from: ${basename(from.path)}`), data)
  }
}
