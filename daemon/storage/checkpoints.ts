/** The checkpoints of one node: their names, how many are kept, and which one is gone on from. */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { StarlingError } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import { type CheckpointInput, writeCheckpoint } from './checkpoint-writer.ts'

/** Checkpoints kept: the newest, one in case it turns out bad, and one more. */
const CHECKPOINTS_KEPT = 3

/** The checkpoints of one node, newest first. */
export interface Checkpoints {
  /** Writes the next one and removes all but the newest {@link CHECKPOINTS_KEPT}. One at a time. */
  write(input: CheckpointInput, signal?: AbortSignal): Promise<{ path: string; bytes: number; milliseconds: number }>
  /** Paths, newest first, valid or not. */
  list(): Promise<string[]>
  /**
   * Offers each checkpoint, newest first, to `load` until one does not throw 'checkpoint-corrupt'; what is skipped is told in the log. Undefined
   * when there is none; throws 'checkpoint-corrupt' when there are some and all are damaged.
   */
  newest<T>(load: (path: string) => Promise<T>): Promise<T | undefined>
}

const NAME = /^(\d{8})-step-\d+$/

/** Checkpoints in `folder`, named by a growing number and their step, e.g. 00000012-step-400. */
export function openCheckpoints(folder: string, log: Log): Checkpoints {
  const list = async (): Promise<string[]> => {
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return []
      throw error
    })
    return names
      .filter((name) => NAME.test(name))
      .sort()
      .reverse()
      .map((name) => join(folder, name))
  }
  let writing: Promise<unknown> = Promise.resolve()

  const write: Checkpoints['write'] = async (input, signal) => {
    const started = performance.now()
    await mkdir(folder, { recursive: true })
    const before = await list()
    const last = Number(NAME.exec(basename(before[0] ?? ''))?.[1] ?? 0)
    const path = join(folder, `${String(last + 1).padStart(8, '0')}-step-${input.step}`)
    const bytes = await writeCheckpoint(path, input, signal)
    for (const old of before.slice(CHECKPOINTS_KEPT - 1)) await rm(old, { recursive: true, force: true })
    // What a killed writer left.
    for (const name of await readdir(folder))
      if (name.endsWith('.writing')) await rm(join(folder, name), { recursive: true, force: true })
    return { path, bytes, milliseconds: performance.now() - started }
  }

  return {
    list,
    write(input, signal) {
      const next = writing.then(() => write(input, signal))
      writing = next.catch(() => {})
      return next
    },
    async newest(load) {
      let failure: unknown
      for (const path of await list()) {
        try {
          return await load(path)
        } catch (error) {
          const code = error instanceof StarlingError ? error.code : undefined
          if (code !== 'checkpoint-corrupt' && code !== 'checkpoint-missing') throw error
          log.warn('a damaged checkpoint is skipped', { path }, error)
          failure ??= error
        }
      }
      if (failure !== undefined) throw failure
      return undefined
    },
  }
}
