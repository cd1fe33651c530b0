import { readFile } from 'node:fs/promises'
import { parseLink, type RunLink, runId, StarlingError } from '../../protocols/index.ts'
import { openRun, type Run } from '../run/index.ts'
import { atomicWrite, type DataFolder } from '../storage/index.ts'
import type { NodeOptions } from '../types.ts'

/** File of the data folder that holds the run's manifest, as canonical bytes. */
const RUN_FILE = 'run.cbor'

/** Which run this node is for. */
export interface ChosenRun {
  id: string
  /** Undefined when only its name is known: the manifest comes from a peer. */
  run: Run | undefined
  /** Where peers of the run may be, from the link. */
  link: RunLink | undefined
}

/**
 * Finds out which run the node is for: from the manifest, from the link, or from what the folder holds. Throws StarlingError 'no-run',
 * 'folder-other-run', 'bad-manifest', 'bad-link'.
 */
export async function chooseRun(options: NodeOptions, folder: DataFolder): Promise<ChosenRun> {
  const stored = await readStored(folder)
  const link = options.link === undefined ? undefined : parseLink(options.link)
  const given = options.manifest === undefined ? undefined : openRun(options.manifest)
  const id = given?.id ?? link?.run ?? (stored === undefined ? undefined : runId(stored))
  if (id === undefined) {
    throw new StarlingError('no-run', `${folder.path} holds no run; give a run.yaml or a link`, { folder: folder.path })
  }
  if (stored !== undefined && runId(stored) !== id) {
    const message = `the data folder ${folder.path} belongs to another run (${runId(stored)}); choose another folder`
    throw new StarlingError('folder-other-run', message, { folder: folder.path, run: runId(stored), wanted: id })
  }
  return { id, link, run: given ?? (stored === undefined ? undefined : openRun(stored)) }
}

async function readStored(folder: DataFolder): Promise<Uint8Array | undefined> {
  try {
    return await readFile(folder.file(RUN_FILE))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StarlingError('data-folder-unusable', `${folder.file(RUN_FILE)} cannot be read`, {}, { cause: error })
  }
}

/** Keeps the manifest in the folder, so that the next start needs neither file nor link. */
export async function keepRun(folder: DataFolder, run: Run): Promise<void> {
  const stored = await readStored(folder)
  if (stored === undefined || runId(stored) !== run.id) await atomicWrite(folder.file(RUN_FILE), run.bytes)
}
