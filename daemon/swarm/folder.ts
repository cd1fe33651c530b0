/** Where a local swarm lives: run.yaml, swarm.json, and a data folder for each peer. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { StarlingError } from '../../protocols/index.ts'
import { readEndpoint } from '../api/index.ts'

const RECORD = 'swarm.json'

const schema = z.object({
  version: z.literal(1),
  /** CID of the run. */
  run: z.string(),
  peers: z.number().int().min(1),
  /** Where the run's data file lay, if it has one. */
  data: z.string().optional(),
  /** Where the weights lay that it started from, if it did. */
  weights: z.string().optional(),
})

type Recorded = Omit<z.output<typeof schema>, 'version'>

export interface SwarmFolder {
  path: string
  /** What an earlier swarm in this folder was; undefined in a fresh one. */
  earlier: (Recorded & { yaml: string }) | undefined
  /** Writes run.yaml and swarm.json. */
  record(what: Recorded & { yaml: string }): void
  /** Takes back what was recorded in a fresh folder, when no peer came to be in it. */
  discard(): void
}

export interface FolderChoice {
  /** Folder below which runs get numbered folders of their own. */
  home: string
  /** A folder that the user named. */
  named?: string
  resume: boolean
  /** Begin of a fresh numbered folder's name. */
  name: string
}

/**
 * Chooses: a fresh numbered folder `runs/<name>-<n>` for every new swarm, the newest one with `resume`, or the named one. Nothing is written yet. Throws
 * StarlingError 'folder-exists', 'nothing-to-resume', 'swarm-running'.
 */
export function chooseFolder(choice: FolderChoice): SwarmFolder {
  const runs = join(choice.home, 'runs')
  const path = resolve(choice.named ?? (choice.resume ? newest(runs) : fresh(runs, choice.name)))
  const running = readEndpoint(path)
  if (running !== undefined) {
    throw new StarlingError(
      'swarm-running',
      `A swarm already runs on ${path} (page ${running.url}); stop it with: starling stop --data-folder ${path}`,
      { path },
    )
  }
  const earlier = read(path)
  if (choice.resume && earlier === undefined)
    throw new StarlingError('nothing-to-resume', `${path} holds no swarm to resume; leave --resume out to start one`, {
      path,
    })
  if (!choice.resume && (earlier !== undefined || (existsSync(path) && !isEmpty(path)))) {
    throw new StarlingError(
      'folder-exists',
      `${path} ${earlier === undefined ? 'is not empty' : 'holds a run already'}; go on with --resume, or name another --data-folder`,
      { path },
    )
  }
  return {
    path,
    earlier,
    record({ yaml, ...what }) {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      writeFileSync(join(path, 'run.yaml'), yaml)
      writeFileSync(join(path, RECORD), `${JSON.stringify({ version: 1, ...what })}\n`)
    },
    discard() {
      if (earlier !== undefined || list(path).some((entry) => entry.startsWith('peer-'))) return
      for (const entry of ['run.yaml', RECORD]) rmSync(join(path, entry), { force: true })
      if (isEmpty(path)) rmdirSync(path)
    },
  }
}

function isEmpty(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).length === 0
}

function read(path: string): SwarmFolder['earlier'] {
  try {
    const { version: _, ...record } = schema.parse(JSON.parse(readFileSync(join(path, RECORD), 'utf8')))
    return { ...record, yaml: readFileSync(join(path, 'run.yaml'), 'utf8') }
  } catch {
    return undefined // absent or not ours
  }
}

function list(runs: string): string[] {
  return existsSync(runs) ? readdirSync(runs) : []
}

function fresh(runs: string, name: string): string {
  const numbers = list(runs)
    .filter((entry) => entry.startsWith(`${name}-`))
    .map((entry) => Number(entry.slice(name.length + 1)))
    .filter((number) => Number.isInteger(number))
  return join(runs, `${name}-${Math.max(0, ...numbers) + 1}`)
}

function newest(runs: string): string {
  const found = list(runs)
    .map((entry) => join(runs, entry))
    .filter((path) => existsSync(join(path, RECORD)))
    .map((path) => ({ path, time: statSync(join(path, RECORD)).mtimeMs }))
    .sort((a, b) => b.time - a.time)
  if (found[0] === undefined)
    throw new StarlingError('nothing-to-resume', `${runs} holds no swarm to resume; leave --resume out to start one`, {
      runs,
    })
  return found[0].path
}
