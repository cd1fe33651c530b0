import { mkdir, readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { MAX_RECORD_BYTES, type RecordStore, StarlingError } from '../../protocols/index.ts'
import { makeFolder } from './files.ts'
import { checkFormat } from './format.ts'
import { openRecords, reasonOf } from './records.ts'

/** Who keeps records: each has its own key space. */
export type StorePrefix = 'node' | 'network' | 'strategy'

/** Longest key of a record, in characters. */
const MAX_KEY = 256

/** Where a node keeps its log, below its folder. */
export const LOG_FILE = 'log/node.log'

/**
 * The folder of one node. Layout:
 *
 * ```
 * format           what form the folder has, see format.ts
 * identity.key     Ed25519 private key, mode 600
 * run.cbor         the run's manifest as its canonical bytes
 * api.json         process id and API address of the daemon that runs on this folder
 * records/         LevelDB; its lock makes the folder exclusive
 * data/<root>      training text fetched from peers, named by its hash
 * checkpoints/     see openCheckpoints
 * final/           the finished model
 * log/             what happened, as lines of JSON, in two files of bounded size
 * ```
 */
export interface DataFolder {
  readonly path: string
  /** Absolute path of something in the folder. */
  file(...parts: string[]): string
  /** A store for small records, under its own prefix. */
  records(prefix: StorePrefix): RecordStore
  /** What was wrong with the records, if they had to be repaired: some may be lost. */
  readonly repaired: string | undefined
  close(): Promise<void>
}

/**
 * Makes the folder (mode 700) if needed and takes it for this process. Throws StarlingError 'data-folder-in-use' when another daemon has it,
 * 'folder-newer' when a later program has written it, and 'data-folder-unusable' when it cannot be made, read or written.
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const folder = resolve(path)
  const file = (...parts: string[]): string => join(folder, ...parts)
  const unusable = (why: string, cause: unknown): StarlingError =>
    new StarlingError('data-folder-unusable', `the data folder ${folder} cannot be used: ${why}`, { folder }, { cause })

  try {
    await makeFolder(folder, 0o700)
    await checkFormat(folder)
  } catch (error) {
    throw error instanceof StarlingError ? error : unusable(messageOf(error), error)
  }
  const { database, repaired } = await openRecords(file('records')).catch((error: unknown) => {
    const cause = error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined
    if (cause?.code === 'LEVEL_LOCKED') {
      throw new StarlingError(
        'data-folder-in-use',
        `the data folder ${folder} is in use by another starling; stop that one or choose another folder`,
        { folder },
      )
    }
    throw unusable(`its records cannot be opened: ${reasonOf(error)}`, error)
  })
  try {
    await mkdir(file('checkpoints'), { recursive: true })
    // What a killed writer left behind; nobody else writes here, the folder is ours.
    for (const name of await readdir(folder))
      if (name.endsWith('.writing')) await rm(file(name), { force: true, recursive: true })
  } catch (error) {
    await database.close()
    throw unusable(messageOf(error), error)
  }

  const keyOf = (prefix: StorePrefix, key: string): string => {
    if (key.length === 0 || key.length > MAX_KEY)
      throw new StarlingError('bad-record', `a record's key has 1 to ${MAX_KEY} characters`, { key })
    return `${prefix}/${key}`
  }

  return {
    path: folder,
    file,
    repaired,
    records: (prefix) => ({
      get: (key) => database.get(keyOf(prefix, key)),
      async put(key, value) {
        if (value.length > MAX_RECORD_BYTES)
          throw new StarlingError('bad-record', `a record has at most ${MAX_RECORD_BYTES} bytes`, {
            key,
            bytes: value.length,
          })
        await database.put(keyOf(prefix, key), value, { sync: true })
      },
      delete: (key) => database.del(keyOf(prefix, key), { sync: true }),
      async keys(start, limit) {
        const from = `${prefix}/${start}`
        // No character is above the last one of Unicode, and LevelDB orders by the bytes of UTF-8.
        const keys = await database.keys({ gte: from, lt: `${from}\u{10ffff}`, limit }).all()
        return keys.map((key) => key.slice(prefix.length + 1))
      },
    }),
    close: () => database.close(),
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
