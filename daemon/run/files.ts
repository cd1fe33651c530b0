import { mkdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { DataFile, DataSpec } from '../../models/index.ts'
import {
  type BlobReference,
  type Blobs,
  type Clock,
  hashBlob,
  type PeerName,
  type PullProgress,
  StarlingError,
} from '../../protocols/index.ts'
import { atomicWrite } from '../storage/index.ts'

/** Largest file of a run, bytes; it is held in memory while it is served and trained on. */
const MAX_FILE_BYTES = 2 ** 31 - 1

/** Milliseconds that an offer stands: for the life of the daemon. */
const OFFER_TTL = 365 * 24 * 3_600_000

/** Wait between two looks for a peer that has a missing file, milliseconds. */
const LOOK_PAUSE = 1_000

/** Files that a run's data need, by role. The embedded data sets need none. */
export function filesOf(data: DataSpec): DataFile[] {
  if (data.source === 'text') return [data.file]
  if (data.source === 'images') return [data.images, data.labels]
  return []
}

/** Reads a user's file and names it by content; `key` is what the manifest calls it. Throws StarlingError 'data-missing', 'data-empty', 'data-too-large'. */
export async function readDataFile(
  path: string,
  clock: Clock,
  signal?: AbortSignal,
  key = 'data',
): Promise<{ bytes: Uint8Array; file: DataFile }> {
  let size: number
  try {
    const found = await stat(path)
    if (!found.isFile()) throw new StarlingError('data-missing', `${key}: ${path} is not a file`, { path })
    size = found.size
  } catch (error) {
    if (error instanceof StarlingError) throw error
    throw new StarlingError(
      'data-missing',
      `${key}: there is no file ${path} that can be read`,
      { path },
      { cause: error },
    )
  }
  if (size === 0) throw new StarlingError('data-empty', `${key}: the file ${path} is empty`, { path })
  if (size > MAX_FILE_BYTES)
    throw new StarlingError(
      'data-too-large',
      `${key}: the file ${path} has ${size} bytes; at most ${MAX_FILE_BYTES} are allowed`,
      { path, size },
    )
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new StarlingError(
      'data-missing',
      `${key}: ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { path },
      { cause: error },
    )
  })
  const { reference } = await hashBlob(bytes, clock, signal)
  return { bytes, file: { name: basename(path).slice(0, 255), root: reference.root, size: reference.size } }
}

export interface FileModules {
  clock: Clock
  blobs: Blobs
  /** Peers that may have the files, asked again at each look. */
  holders(): readonly PeerName[]
  /** Says what is waited for. */
  waiting(what: string): void
  progress?(file: DataFile, progress: PullProgress): void
}

/**
 * Makes sure that every file of the run lies in `folder` under its root hash, from there, from `localPath` or from peers, and offers it to others; `key` is what the manifest calls them.
 * Resolves to the paths by root. Waits for a peer that has it until the signal aborts. Throws 'data-mismatch' when the local file is not the run's.
 */
export async function obtainFiles(
  files: readonly DataFile[],
  options: { folder: string; localPath?: string; key?: string; signal: AbortSignal },
  modules: FileModules,
): Promise<Record<string, string>> {
  const paths: Record<string, string> = {}
  if (files.length > 0) await mkdir(options.folder, { recursive: true })
  for (const file of files) {
    const path = join(options.folder, file.root)
    const bytes =
      (await kept(path, file, modules, options.signal)) ??
      (await local(file, options, modules)) ??
      (await fetched(file, options.signal, modules))
    if (bytes.fresh) await atomicWrite(path, bytes.bytes)
    await modules.blobs.offer(bytes.bytes, { ttl: OFFER_TTL })
    paths[file.root] = path
  }
  return paths
}

interface Found {
  bytes: Uint8Array
  /** Not in the data folder yet. */
  fresh: boolean
}

const fits = (reference: BlobReference, file: DataFile): boolean =>
  reference.root === file.root && reference.size === file.size

async function kept(
  path: string,
  file: DataFile,
  { clock }: FileModules,
  signal: AbortSignal,
): Promise<Found | undefined> {
  try {
    const { bytes, file: found } = await readDataFile(path, clock, signal)
    // A damaged copy is fetched again and replaced.
    return fits(found, file) ? { bytes, fresh: false } : undefined
  } catch (error) {
    if (error instanceof StarlingError && error.code !== 'aborted') return undefined
    throw error
  }
}

async function local(
  file: DataFile,
  options: { localPath?: string; key?: string; signal: AbortSignal },
  { clock }: FileModules,
): Promise<Found | undefined> {
  const { key = 'data' } = options
  if (options.localPath === undefined) return undefined
  const { bytes, file: found } = await readDataFile(options.localPath, clock, options.signal, key)
  if (fits(found, file)) return { bytes, fresh: true }
  const message = `${key}: ${options.localPath} is not the file '${file.name}' of this run (${found.size} bytes against ${file.size}); leave it out and it comes from peers`
  throw new StarlingError('data-mismatch', message, { path: options.localPath, root: found.root, wanted: file.root })
}

async function fetched(
  file: DataFile,
  signal: AbortSignal,
  { clock, blobs, holders, waiting, progress }: FileModules,
): Promise<Found> {
  const bytes = new Uint8Array(file.size)
  for (;;) {
    const peers = holders()
    if (peers.length > 0) {
      try {
        await blobs.pull(peers, { root: file.root, size: file.size }, bytes, {
          signal,
          ...(progress === undefined ? {} : { onProgress: (report: PullProgress) => progress(file, report) }),
        })
        return { bytes, fresh: true }
      } catch (error) {
        if (!(error instanceof StarlingError) || error.code !== 'no-holder') throw error
      }
    }
    waiting(`a peer that has the file '${file.name}'`)
    await clock.sleep(LOOK_PAUSE, signal)
  }
}
