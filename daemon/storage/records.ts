/** The LevelDB of a data folder: opened, looked through, and repaired where it is damaged. */
import { readdir } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'

export type Records = ClassicLevel<string, Uint8Array>

/** What LevelDB says of files that are cut, changed or gone. Locks, permissions and full disks are none of these. */
const DAMAGE = /^Corruption: |^IO error: .*: (No such file or directory|Invalid argument)$/

/**
 * Opens the database in a folder. LevelDB meets most damage only when it reads it, so everything is read through once; where that fails it is repaired,
 * which keeps whatever is whole: `repaired` then says what was wrong. Rejects with LevelDB's own error when a repair does not help or nothing can be done.
 */
export async function openRecords(path: string): Promise<{ database: Records; repaired: string | undefined }> {
  let damage = await lacksCurrent(path)
  if (damage === undefined) {
    try {
      return { database: await openWhole(path), repaired: undefined }
    } catch (error) {
      damage = reasonOf(error)
      if (!DAMAGE.test(damage)) throw error
    }
  }
  await ClassicLevel.repair(path)
  return { database: await openWhole(path), repaired: damage }
}

async function openWhole(path: string): Promise<Records> {
  const database: Records = new ClassicLevel(path, { valueEncoding: 'view' })
  await database.open()
  try {
    for await (const _ of database.keys({ fillCache: false })) {
      // Reading is what finds the damage.
    }
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

/** Without the file CURRENT, LevelDB takes the folder for a new database and removes what is in it. */
async function lacksCurrent(path: string): Promise<string | undefined> {
  const files = await readdir(path).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const lacks = files.some((name) => /\.(ldb|sst|log)$|^MANIFEST-/.test(name)) && !files.includes('CURRENT')
  return lacks ? 'its file CURRENT is gone' : undefined
}

/** What LevelDB says went wrong; its errors carry that in their cause when it happened at the opening. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}
