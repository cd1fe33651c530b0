/** Gathers the facts about this machine. */
import { execFile } from 'node:child_process'
import { readFile, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { availableParallelism, cpus, freemem, homedir, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { askEngine } from './engine.ts'
import type { DoctorOptions, Facts, PortQuestion, SetupStatus } from './types.ts'

/** Milliseconds over which the two clocks are compared. */
const CLOCK_SPAN = 300

/** Milliseconds for a program to tell its version. */
const VERSION_TIMEOUT = 10_000

/** The installed Starling: this file is dist/daemon/doctor/facts.js. */
const root = resolve(fileURLToPath(import.meta.url), '../../../..')

const packages = ['libp2p', '@libp2p/gossipsub', '@libp2p/noise', '@libp2p/yamux', '@tensorflow/tfjs']

const anyPort: readonly PortQuestion[] = [
  { purpose: 'page', host: '127.0.0.1', port: 0 },
  { purpose: 'peers', host: '0.0.0.0', port: 0 },
]

async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
  } catch {
    return undefined // Missing or damaged: the finding says so.
  }
}

/** Bytes free where a folder is or would be. */
async function freeDisk(purpose: string, folder: string): Promise<Facts['disks'][number]> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return { purpose, folder, free: bavail * bsize }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(folder) !== folder) {
      return { ...(await freeDisk(purpose, dirname(folder))), folder }
    }
    return { purpose, folder, free: undefined, error: message }
  }
}

/** Listens for a moment. */
function tryPort(question: PortQuestion): Promise<PortQuestion & { error?: string }> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve({ ...question, error: error.code ?? error.message }))
    server.listen({ host: question.host, port: question.port, exclusive: true }, () =>
      server.close(() => resolve({ ...question })),
    )
  })
}

/** Whether a program answers. */
function answers(program: string, parameters: readonly string[], signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(program, parameters, { signal, timeout: VERSION_TIMEOUT }, (error) => resolve(error === null))
  })
}

async function findTools(signal: AbortSignal): Promise<NonNullable<Facts['tools']>> {
  const any = async (programs: readonly (readonly string[])[]) =>
    (
      await Promise.all(programs.map(([program = '', ...rest]) => answers(program, [...rest, '--version'], signal)))
    ).some(Boolean)
  const [compiler, pip] = await Promise.all([
    any([...(process.env.CXX ? [[process.env.CXX]] : []), ['c++'], ['g++'], ['clang++']]),
    any([['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']]),
  ])
  return { compiler, pip }
}

/** Memory that a new process can have: what Linux calls available counts the file cache, which `freemem` leaves out on older Node. */
async function memory(): Promise<Facts['memory']> {
  const meminfo = await readFile('/proc/meminfo', 'utf8').catch(() => '')
  const kibibytes = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo)?.[1]
  const limit = process.constrainedMemory()
  return {
    available: kibibytes === undefined ? freemem() : Number(kibibytes) * 1024,
    total: totalmem(),
    // 0 or a huge number means that no container limits this process.
    limit: limit > 0 && limit < totalmem() ? limit : undefined,
  }
}

async function clock(signal: AbortSignal): Promise<Facts['clock']> {
  const wall = Date.now()
  const monotonic = performance.now()
  await wait(CLOCK_SPAN, undefined, { signal })
  const passed = performance.now() - monotonic
  const drift = (Date.now() - wall - passed) / passed
  return { now: Date.now(), built: (await stat(fileURLToPath(import.meta.url))).mtimeMs, drift }
}

function openFiles(): number | undefined {
  const report = process.report.getReport() as { userLimits?: { open_files?: { soft?: number | 'unlimited' } } }
  const soft = report.userLimits?.open_files?.soft
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft
}

async function libraries(): Promise<Facts['libraries']> {
  const versions = await Promise.all(
    packages.map(async (name) => {
      const description = await readJson(join(root, 'node_modules', name, 'package.json'))
      return [name, description?.version as string | undefined] as const
    }),
  )
  return Object.fromEntries(versions)
}

/**
 * Looks at everything, the engine last so that nothing else is slowed by its measurement.
 * @throws the signal's reason when it aborts
 */
export async function gatherFacts(options: DoctorOptions, signal: AbortSignal): Promise<Facts> {
  signal.throwIfAborted()
  const cache = process.env.STARLING_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'starling')
  const quick = await Promise.all([
    memory(),
    Promise.all([freeDisk('data', resolve(options.dataFolder ?? '.')), freeDisk('cache', cache)]),
    clock(signal),
    Promise.all((options.ports ?? anyPort).map(tryPort)),
    libraries(),
    readJson(join(root, 'node_modules', '.cache', 'starling', 'setup.json')),
  ])
  const engine = await askEngine(options.engine, signal)
  const native = 'name' in engine && engine.name === 'native'
  const tools = native ? undefined : await findTools(signal)
  signal.throwIfAborted()
  return {
    engine,
    setup: quick[5] as unknown as SetupStatus | undefined,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cores: { usable: availableParallelism(), model: cpus()[0]?.model.trim() ?? 'unknown' },
    memory: quick[0],
    disks: quick[1],
    clock: quick[2],
    ports: quick[3],
    openFiles: openFiles(),
    libraries: quick[4],
    tools,
  }
}
