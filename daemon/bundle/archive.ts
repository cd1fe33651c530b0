import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { create } from 'tar'
import { StarlingError } from '../../protocols/index.ts'
import type { Part } from './collect.ts'

/**
 * Packs the parts as one .tar.gz, each below a folder that is called like the archive; returns its size in bytes. Throws StarlingError 'file-exists' for a path that
 * is taken, and 'file-unwritable'.
 */
export async function pack(parts: readonly Part[], path: string): Promise<number> {
  const taken = await stat(path).then(
    () => true,
    () => false, // nothing there
  )
  if (taken) throw new StarlingError('file-exists', `${path} is there already; name another file with --out`, { path })
  const root = basename(path).replace(/\.(tar\.gz|tgz)$/, '')
  const folder = await mkdtemp(join(tmpdir(), 'starling-bundle-'))
  try {
    for (const { name, text } of parts) {
      const place = join(folder, root, name)
      await mkdir(dirname(place), { recursive: true, mode: 0o700 })
      await writeFile(place, text, { mode: 0o600 })
    }
    const unfinished = `${path}.${process.pid}.writing`
    try {
      await create({ gzip: true, file: unfinished, cwd: folder, portable: true, mode: 0o600 } as never, [root])
      await rename(unfinished, path)
    } catch (error) {
      await rm(unfinished, { force: true })
      const message = `${path} cannot be written: ${(error as Error).message}`
      throw new StarlingError('file-unwritable', message, { path }, { cause: error })
    }
    return (await stat(path)).size
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
