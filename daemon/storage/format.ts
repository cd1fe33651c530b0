/** Which form a data folder has, so that an older program leaves a newer one's alone, and a newer one knows what to bring up to date. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StarlingError } from '../../protocols/index.ts'
import { atomicWrite } from './files.ts'

/** Grows with every change after which the program before it would misread the folder. */
export const FOLDER_FORMAT = 1

const FILE = 'format'

/** Folders of the first releases have no such file. */
const FIRST = 1

/** What brings a folder from each format to the next one; none yet. */
const MIGRATIONS: readonly { from: number; migrate(folder: string): Promise<void> }[] = []

/**
 * Looks at the folder's format before anything in it is opened, and brings an older one up to date, one format after the other. Throws StarlingError
 * 'folder-newer', and changes nothing, when a later program has written it; 'data-folder-unusable' when the file holds no number.
 */
export async function checkFormat(folder: string): Promise<void> {
  const path = join(folder, FILE)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  const found = text === undefined ? FIRST : Number(text.trim())
  if (!Number.isSafeInteger(found) || found < FIRST) {
    const message = `the data folder ${folder} cannot be used: ${path} should hold its format, a number`
    throw new StarlingError('data-folder-unusable', message, { folder })
  }
  if (found > FOLDER_FORMAT) {
    const message = `the data folder ${folder} was written by a newer Starling (format ${found}, this one knows up to ${FOLDER_FORMAT}); install that version again, or use another folder`
    throw new StarlingError('folder-newer', message, { folder, format: found })
  }
  for (const { from, migrate } of MIGRATIONS) {
    if (from < found) continue
    await migrate(folder)
    await atomicWrite(path, `${from + 1}\n`)
  }
  if (text === undefined) await atomicWrite(path, `${FOLDER_FORMAT}\n`)
}
