/** run.yaml as a user gets it, and as it is read. */
import { readFileSync } from 'node:fs'
import { StarlingError } from '../../protocols/index.ts'

/** Reads a file that the user named. Throws StarlingError 'file-missing', 'file-unreadable'. */
export function readUserFile(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new StarlingError('file-missing', `There is no file ${path}`, { path })
    if (code === 'EISDIR') throw new StarlingError('file-unreadable', `${path} is a folder, not a file`, { path })
    throw new StarlingError(
      'file-unreadable',
      `${path} cannot be read: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
}
