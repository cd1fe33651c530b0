import { ModelError } from '../errors.ts'
import type { Dataset } from '../types.ts'
import { drawDigits } from './digits.ts'
import { readIdxImages } from './idx.ts'
import { type Images, imageDataset, splitImages } from './images.ts'
import { checkText, readBytes, unpack } from './read.ts'
import { partOf, type ShardIdentity } from './shards.ts'
import { type DataFile, type DataSpec, textValidation } from './spec.ts'
import { generateStories } from './stories/generate.ts'
import { splitText, textDataset } from './text.ts'

export interface OpenDatasetOptions {
  data: DataSpec
  /** Tokens per row; needed for text. */
  context?: number | undefined
  /** Seed of the run: the order of the batches and the Dirichlet proportions come from it. */
  seed: number | string
  /** Who asks. With the rule `same` it makes no difference. */
  shard: ShardIdentity
  /** The text, or the IDX file of images: bytes or a path. Needed for the sources `text` and `images`. */
  file?: Uint8Array | string | undefined
  /** The IDX file of labels: bytes or a path. Needed for the source `images`. */
  labels?: Uint8Array | string | undefined
  signal?: AbortSignal | undefined
}

/**
 * Opens the data of a run for one peer. Files are read whole; their length is checked against the run, their hash is not (whoever fetched
 * them has).
 * @throws ModelError with a sentence that names the file and the place: 'file-missing', 'file-unreadable', 'file-empty', 'file-too-large',
 * 'file-size', 'not-text', 'text-too-short', 'bad-gzip', 'bad-idx', 'too-few-images', 'bad-shard', 'data-file-needed', 'context-needed'.
 */
export async function openDataset(options: OpenDatasetOptions): Promise<Dataset> {
  const { data, seed, signal } = options
  signal?.throwIfAborted()
  const { shard, validation } = data
  const openText = (name: string, bytes: Uint8Array, context: number) => {
    const text = { name, bytes, context, seed, shard, validation }
    const part = partOf(shard, options.shard, seed, Math.floor(splitText(text) / (context + 1)))
    return textDataset({ ...text, part })
  }
  const openImages = (name: string, images: Images) => {
    const all = { name, images, seed, shard, validation }
    return imageDataset({ ...all, part: partOf(shard, options.shard, seed, splitImages(all).training.length) })
  }
  switch (data.source) {
    case 'stories': {
      const bytes = generateStories(data.seed, data.bytes)
      return openText('stories', bytes, needContext(options))
    }
    case 'text': {
      const context = needContext(options)
      const { name, bytes } = await load(options.file, data.file, signal)
      checkText(bytes, name)
      return openText(name, bytes, context)
    }
    case 'digits':
      return openImages('digits', drawDigits(data.seed, data.images))
    case 'images': {
      const files = [
        await load(options.file, data.images, signal),
        await load(options.labels, data.labels, signal),
      ] as const
      const images = await unpackImages(files[0], files[1], data.classes)
      if (images.height !== data.height || images.width !== data.width) {
        throw new ModelError(
          'bad-idx',
          `${files[0].name} holds images of ${images.height} x ${images.width}, but the run says ${data.height} x ${data.width}`,
          { file: files[0].name },
        )
      }
      return openImages(files[0].name, images)
    }
  }
}

/** What a run must say about two IDX files of a user, beside their names and hashes. @throws ModelError as {@link openDataset}. */
export async function inspectImages(
  images: Uint8Array | string,
  labels: Uint8Array | string,
  signal?: AbortSignal,
): Promise<{ count: number; height: number; width: number; classes: number }> {
  const files = [await load(images, undefined, signal), await load(labels, undefined, signal)] as const
  const { count, height, width, classes } = await unpackImages(files[0], files[1])
  return { count, height, width, classes }
}

/**
 * Looks at a text file of a user before a run is made of it, so that a mistake shows before anything is started. With a context, its length
 * is looked at as well.
 * @returns the number of bytes.
 * @throws ModelError as {@link openDataset}.
 */
export async function inspectText(
  file: Uint8Array | string,
  signal?: AbortSignal,
  context?: number,
): Promise<{ bytes: number }> {
  const { name, bytes } = await load(file, undefined, signal)
  checkText(bytes, name)
  if (context !== undefined) splitText({ name, bytes, context, validation: textValidation.parse({}) })
  return { bytes: bytes.length }
}

interface Loaded {
  name: string
  bytes: Uint8Array
}

async function load(
  source: Uint8Array | string | undefined,
  file: DataFile | undefined,
  signal: AbortSignal | undefined,
): Promise<Loaded> {
  if (source === undefined) {
    const message = `the run needs the file ${file?.name}, which is not here; give its path`
    throw new ModelError('data-file-needed', message, { file: file?.name })
  }
  const name = typeof source === 'string' ? source : (file?.name ?? 'the data')
  return { name, bytes: await readBytes(source, { name, size: file?.size, signal }) }
}

async function unpackImages(images: Loaded, labels: Loaded, classes?: number): Promise<Images> {
  const unpacked = await Promise.all(
    [images, labels].map(async ({ name, bytes }) => ({ name, bytes: await unpack(bytes, name) })),
  )
  return readIdxImages(unpacked[0]!, unpacked[1]!, classes)
}

function needContext({ context }: OpenDatasetOptions): number {
  if (context === undefined || !Number.isInteger(context) || context < 1) {
    throw new ModelError('context-needed', 'text needs the number of tokens in a row (the context of the model)', {
      context,
    })
  }
  return context
}
