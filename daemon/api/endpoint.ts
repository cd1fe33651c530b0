/** The small file by which commands find a running node: its address and token, readable by its owner only. */
import {
  type Dirent,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

/** Name of the file inside a data folder. */
export const ENDPOINT_FILE = 'api.json'

/** How deep below `.starling` a data folder can lie: runs/<run>/peer-<n>. */
const SEARCH_DEPTH = 4

/** Folders looked at in one search; a bound against a stray link to a huge tree. */
const SEARCH_FOLDERS = 2_000

const schema = z.object({
  url: z.url(),
  token: z.string().optional(),
  pid: z.number().int().positive(),
  startedAt: z.number(),
})

/** Where a node's API is. */
export interface Endpoint {
  url: string
  token?: string
  /** Process that serves it. */
  pid: number
  /** Milliseconds since the epoch. */
  startedAt: number
}

/** Writes the file with mode 600, beside and renamed, so that no reader sees half of it. */
export function writeEndpoint(dataFolder: string, endpoint: Endpoint): void {
  const path = join(dataFolder, ENDPOINT_FILE)
  const unfinished = `${path}.${process.pid}`
  writeFileSync(unfinished, `${JSON.stringify(endpoint)}\n`, { mode: 0o600 })
  renameSync(unfinished, path)
}

/** Removes the file, if it is this process's own. */
export function removeEndpoint(dataFolder: string): void {
  const endpoint = read(dataFolder)
  if (endpoint === undefined || endpoint.pid === process.pid) rmSync(join(dataFolder, ENDPOINT_FILE), { force: true })
}

/** True where the last process left its file behind. For who holds the folder's lock: that process ended without a stop, whatever has its id now. */
export function endedWithoutStop(dataFolder: string): boolean {
  return existsSync(join(dataFolder, ENDPOINT_FILE))
}

function read(dataFolder: string): Endpoint | undefined {
  try {
    const parsed = schema.parse(JSON.parse(readFileSync(join(dataFolder, ENDPOINT_FILE), 'utf8')))
    const { token, ...rest } = parsed
    return token === undefined ? rest : { ...rest, token }
  } catch {
    return undefined // absent, unreadable or half a file of a crashed machine: nobody to talk to
  }
}

/** True while a process with that id runs (it may be another user's). */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The endpoint of a data folder whose process still runs; a file left by a killed one counts for nothing. */
export function readEndpoint(dataFolder: string): Endpoint | undefined {
  const endpoint = read(dataFolder)
  return endpoint !== undefined && isAlive(endpoint.pid) ? endpoint : undefined
}

/** Running nodes below `folder`, the one started last first; a swarm comes before its own peers. */
export function findEndpoints(folder: string): { dataFolder: string; endpoint: Endpoint }[] {
  const found: { dataFolder: string; endpoint: Endpoint; depth: number }[] = []
  let queue: { path: string; depth: number }[] = [{ path: folder, depth: 0 }]
  for (let looked = 0; queue.length > 0 && looked < SEARCH_FOLDERS; looked += 1) {
    const [{ path, depth }, ...rest] = queue as [{ path: string; depth: number }]
    queue = rest
    const endpoint = readEndpoint(path)
    if (endpoint !== undefined) found.push({ dataFolder: path, endpoint, depth })
    if (depth >= SEARCH_DEPTH) continue
    for (const entry of entries(path))
      if (entry.isDirectory()) queue.push({ path: join(path, entry.name), depth: depth + 1 })
  }
  const swarmOf = (path: string) =>
    found.find((other) => other.dataFolder !== path && path.startsWith(`${other.dataFolder}/`))
  const age = (item: (typeof found)[number]) => (swarmOf(item.dataFolder) ?? item).endpoint.startedAt
  found.sort((a, b) => age(b) - age(a) || a.depth - b.depth || (a.dataFolder < b.dataFolder ? -1 : 1))
  return found.map(({ dataFolder, endpoint }) => ({ dataFolder, endpoint }))
}

function entries(path: string): Dirent[] {
  try {
    return statSync(path).isDirectory() ? readdirSync(path, { withFileTypes: true }) : []
  } catch {
    return [] // vanished or not ours to read
  }
}
