import { StarlingError } from '../../protocols/index.ts'

/** What the system calls a full disk or quota; LevelDB hands on the words only. */
const FULL = /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded/

/** The error 'disk-full' with what to do, for one that a full disk has led to; undefined for any other. */
export function diskFull(folder: string, error: unknown): StarlingError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (!FULL.test(`${code ?? ''} ${cause.message}`)) continue
    const message = `the disk that ${folder} lies on is full: free some space, and start again with the same command; the run goes on from its last checkpoint`
    return new StarlingError('disk-full', message, { folder }, { cause: error })
  }
  return undefined
}
