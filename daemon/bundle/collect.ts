/** Gathers a report about one node for whoever looks for a fault. Nothing in it opens anything: no keys, no tokens, no texts of users. */
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, relative } from 'node:path'
import { callApi, readEvents, readMetrics } from '../api/index.ts'
import { diagnose } from '../doctor/index.ts'
import { openRun } from '../run/index.ts'
import type { NodeStatus } from '../types.ts'
import { createMask, type Mask } from './mask.ts'

/** Events taken: the latest. */
const EVENTS = 2_000

/** Bytes taken from the end of each log, and logs in all: a swarm has one for each peer. */
const LOG_TAIL = 1024 * 1024
const LOGS = 16

/** Files named in the listing, and how deep below the data folder. */
const LISTED = 2_000
const DEPTH = 5

/** Longest time for the engine's measurement, milliseconds. */
const DOCTOR_TIMEOUT = 120_000

/** One file of the report. */
export interface Part {
  name: string
  /** What it is, in a few words. */
  about: string
  text: string
}

export interface CollectOptions {
  /** The node's folder; undefined for one that is only known by its address. */
  dataFolder?: string
  /** Its API, where it runs. */
  place?: { url: string; token?: string }
  /** Replace addresses by stand-ins. */
  maskAddresses: boolean
  version: string
}

/** The parts of the report. What cannot be had is named in about.json with the reason, and is no error: a report is made when something is broken. */
export async function collect(options: CollectOptions, signal: AbortSignal): Promise<Part[]> {
  const { dataFolder, place, maskAddresses, version } = options
  const folders = [
    ...(dataFolder === undefined ? [] : [[dataFolder, '<data-folder>'] as const]),
    [homedir(), '~'] as const,
  ]
  const mask = createMask({ folders, addresses: maskAddresses })
  const json = (value: unknown): string => `${JSON.stringify(mask.value(value), null, 2)}\n`
  const parts: Part[] = []
  const missing: { name: string; why: string }[] = []
  const add = async (name: string, about: string, make: () => Promise<string>): Promise<void> => {
    try {
      parts.push({ name, about, text: await make() })
    } catch (error) {
      signal.throwIfAborted()
      missing.push({ name, why: mask.text((error as Error).message) })
    }
  }

  if (place === undefined) missing.push({ name: 'status.json and others', why: 'the node does not run' })
  else {
    await add('status.json', 'what the node says of itself', async () =>
      json(await callApi<NodeStatus>(place, 'GET', 'api/status')),
    )
    await add('peers.json', 'whom it knows', async () => json(await callApi(place, 'GET', 'api/peers')))
    await add('explain.json', 'what it waits for and why', async () => json(await callApi(place, 'GET', 'api/explain')))
    await add('events.jsonl', `the latest ${EVENTS.toLocaleString('en')} events, without samples of text`, async () =>
      (await readEvents(place))
        .slice(-EVENTS)
        .map((event) => `${JSON.stringify(mask.value(event))}\n`)
        .join(''),
    )
    await add('metrics.txt', 'the metrics', async () => mask.text(await readMetrics(place)))
  }
  if (dataFolder !== undefined) {
    await add('manifest.json', 'the run', async () =>
      json(openRun(await readFile(join(dataFolder, 'run.cbor'))).manifest),
    )
    await add('files.txt', 'names and sizes of the files in the data folder', async () =>
      mask.text(await listing(dataFolder)),
    )
    for (const path of await logsOf(dataFolder)) {
      const name = `log/${relative(dataFolder, path).replaceAll(/[\\/]/g, '-')}`
      await add(name, 'the end of a log', async () => logText(await tail(path), mask))
    }
  }
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(DOCTOR_TIMEOUT)])
  await add('doctor.json', 'this machine', async () =>
    json(await diagnose(dataFolder === undefined ? {} : { dataFolder }, deadline)),
  )
  const about = {
    starling: version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    time: new Date().toISOString(),
    missing,
  }
  return [{ name: 'about.json', about: 'versions, and what is missing here', text: json(about) }, ...parts]
}

/** Lines of JSON lose what their values hold, other lines as texts. */
function logText(text: string, mask: Mask): string {
  return text
    .split('\n')
    .map((line) => {
      if (!line.startsWith('{')) return mask.text(line)
      try {
        return JSON.stringify(mask.value(JSON.parse(line)))
      } catch {
        return mask.text(line) // cut in the middle
      }
    })
    .join('\n')
}

/** Logs of the node, and where the folder is a swarm's those of its peers and their processes. */
async function logsOf(folder: string): Promise<string[]> {
  const found: string[] = []
  const look = async (path: string): Promise<void> => {
    for (const name of ['node.log.1', 'node.log'])
      if (await isFile(join(path, 'log', name))) found.push(join(path, 'log', name))
  }
  await look(folder)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await look(join(folder, entry.name))
    else if (entry.name.endsWith('.log')) found.push(join(folder, entry.name))
  }
  return found.slice(0, LOGS)
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false, // not there, or not ours to read
  )
}

/** The last bytes of a file, from the beginning of a line on. */
async function tail(path: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    file = await open(path, 'r')
    const { size } = await file.stat()
    const bytes = Buffer.alloc(Math.min(size, LOG_TAIL))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length)
    const text = bytes.subarray(0, bytesRead).toString('utf8')
    return size > LOG_TAIL ? text.slice(text.indexOf('\n') + 1) : text
  } finally {
    await file?.close()
  }
}

async function listing(folder: string): Promise<string> {
  const lines: string[] = []
  const walk = async (path: string, depth: number): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (lines.length >= LISTED) return
      const inside = join(path, entry.name)
      if (entry.isDirectory() && depth < DEPTH) await walk(inside, depth + 1)
      else {
        const { size, mode, mtime } = await stat(inside)
        lines.push(
          `${(mode & 0o777).toString(8)} ${String(size).padStart(12)} ${mtime.toISOString()} ${relative(folder, inside)}`,
        )
      }
    }
  }
  await walk(folder, 0)
  return `${lines.join('\n')}\n`
}
