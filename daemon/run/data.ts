import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DataFile, DataSpec, Dataset, Layout, ModelConfig } from '../../models/index.ts'
import { inspectImages, inspectText, loadWeights, openDataset } from '../../models/index.ts'
import { type Clock, StarlingError } from '../../protocols/index.ts'
import { filesOf, readDataFile } from './files.ts'

/** One peer's data as plain data: what the trainer thread opens. */
export interface DataSource {
  spec: DataSpec
  /** Tokens per row, for text. */
  context?: number
  seed: number
  /** Name of the peer, which decides its shard. */
  peer: string
  /** Where the run's files lie, by root hash. */
  paths: Record<string, string>
}

/** What the trainer of `peer` reads. */
export function sourceOf(
  spec: DataSpec,
  model: ModelConfig,
  seed: number,
  peer: string,
  paths: Record<string, string>,
): DataSource {
  return { spec, seed, peer, paths, ...(model.architecture === 'decoder' ? { context: model.context } : {}) }
}

/** Opens the data set of a peer. Throws ModelError with the place of what is wrong with a file. */
export function openSource({ spec, context, seed, peer, paths }: DataSource): Promise<Dataset> {
  const [file, labels] = filesOf(spec).map(({ root }) => paths[root])
  return openDataset({ data: spec, context, seed, shard: { peer }, file, labels })
}

const clock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(milliseconds, undefined, signal === undefined ? {} : { signal }),
}

/**
 * The section `data` of a run over a user's files: one text, or IDX images and their labels. The files are looked at and named by content. Throws
 * StarlingError or ModelError with the file and what is wrong with it.
 */
export async function describeFiles(paths: readonly string[], signal?: AbortSignal): Promise<Record<string, unknown>> {
  const [first, second, ...rest] = paths
  if (first === undefined || rest.length > 0)
    throw new StarlingError('data-invalid', 'data: give one text file, or IDX images and their labels', { paths })
  if (second === undefined) {
    const { bytes, file } = await readDataFile(first, clock, signal)
    await inspectText(bytes, signal)
    return { source: 'text', file }
  }
  const images = await readDataFile(first, clock, signal)
  const labels = await readDataFile(second, clock, signal)
  const { height, width, classes } = await inspectImages(images.bytes, labels.bytes, signal)
  return { source: 'images', images: images.file, labels: labels.file, height, width, classes }
}

/**
 * A safetensors file as the parameters that a run starts from (`model.weights`): named by content. Throws StarlingError 'data-missing', 'data-empty',
 * 'data-too-large'; whether it fits the model is seen by {@link checkWeights}.
 */
export async function describeWeights(path: string, signal?: AbortSignal): Promise<DataFile> {
  return (await readDataFile(path, clock, signal, 'model.weights')).file
}

/** Reads weights as the trainer will. Throws ModelError 'weights-unfit' that says what does not fit the model. */
export async function checkWeights(path: string, layout: Layout, signal?: AbortSignal): Promise<void> {
  const options = { name: basename(path), ...(signal === undefined ? {} : { signal }) }
  await loadWeights(path, layout, new Float32Array(layout.length), options)
}
