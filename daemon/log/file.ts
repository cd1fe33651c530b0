/** The log of a node on disk: lines of JSON in two files of bounded size. A full or broken disk costs lines, never the node. */
import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Bytes of a file before it becomes the older one, and the one before that goes. */
const MAX_BYTES = 4 * 1024 * 1024

/** Bytes of lines that wait for the disk; further ones are dropped and counted. */
const MAX_WAITING = 1024 * 1024

export interface LogFile {
  write(line: string): void
  /** Lines go to that file from now on; those until then have waited. `onError` is told once of a disk that does not take them. */
  open(path: string, onError: (error: Error) => void): void
  /** Resolves when everything that can be written is. */
  close(): Promise<void>
}

export function createLogFile(maxBytes: number = MAX_BYTES): LogFile {
  let place: { path: string; onError: (error: Error) => void } | undefined
  let waiting: string[] = [] // at most MAX_WAITING characters
  let length = 0
  let dropped = 0
  let size: number | undefined
  let failed = false
  let writing: Promise<void> | undefined

  const take = (): string => {
    const lost =
      dropped > 0 ? `${JSON.stringify({ level: 40, time: Date.now(), dropped, msg: 'log lines were dropped' })}\n` : ''
    const text = waiting.join('') + lost
    waiting = []
    length = 0
    dropped = 0
    return text
  }

  const store = async (path: string, text: string): Promise<void> => {
    if (size === undefined) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      size = await stat(path).then(
        (found) => found.size,
        () => 0, // there is none yet
      )
    }
    const bytes = Buffer.byteLength(text)
    if (size > 0 && size + bytes > maxBytes) {
      await rename(path, `${path}.1`)
      size = 0
    }
    await appendFile(path, text, { mode: 0o600 })
    size += bytes
  }

  const drain = async ({ path, onError }: NonNullable<typeof place>): Promise<void> => {
    while (length > 0) {
      // Those that were dropped before are told of by a line that may not come through either.
      const atStake = waiting.length + dropped
      try {
        await store(path, take())
        failed = false
      } catch (error) {
        dropped += atStake
        size = undefined
        if (!failed) onError(error as Error)
        failed = true
      }
    }
  }

  const start = (): void => {
    if (place === undefined || writing !== undefined || length === 0) return
    writing = drain(place).finally(() => {
      writing = undefined
      start()
    })
  }

  return {
    write(line) {
      if (length + line.length > MAX_WAITING) {
        dropped += 1
        return
      }
      waiting.push(line)
      length += line.length
      start()
    },
    open(path, onError) {
      place = { path, onError }
      start()
    },
    async close() {
      while (writing !== undefined) await writing
      place = undefined
    },
  }
}
