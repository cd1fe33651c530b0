/** A run's contributions on disk: the portable file that a finished run leaves, or the records of a stopped node. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  createLog,
  decodeRunLog,
  MAX_RUN_LOG_BYTES,
  type PeerName,
  type RecordStore,
  type RunLog,
  type SpsaOptions,
  StarlingError,
  toHex,
} from '../../protocols/index.ts'
import type { Run } from '../run/index.ts'
import { nearby } from './model.ts'
import { readUserFile } from './run-file.ts'

/** Name of the file in `final/`. */
export const RUN_LOG = 'contributions.log'

/** The contributions of a run, every signature checked. */
export interface OpenedLog {
  /** The file or data folder that they come from. */
  path: string
  run: Run
  options: SpsaOptions
  authors: ReadonlyMap<PeerName, Uint8Array>
  excluded: readonly { author: PeerName; step: number }[]
  digest: string
  /** Bytes of the file; the records of a node have none of their own. */
  bytes?: number
  /** Where the weights lie that the run starts from, if it names any and they were found. */
  weights?: string
  /** What the records of a node lost to damage, in words. */
  damage: readonly string[]
}

/** True for what {@link openRunLog} may be asked to open: a file that is named like one. */
export const isRunLog = (path: string): boolean => path.endsWith('.log')

/**
 * Opens the run log meant by a path: a file, or the one in the folder of a swarm, of a stopped node, or of a finished model. Nothing is written. Throws
 * StarlingError 'log-missing', 'bad-run-log', 'file-...', 'data-folder-in-use', 'bad-manifest'.
 */
export async function openRunLog(path: string): Promise<OpenedLog> {
  const place = resolve(path)
  if (!existsSync(place)) throw new StarlingError('file-missing', `There is no ${path}`, { path })
  if (!statSync(place).isDirectory()) return fromFile(place)
  const peers = readdirSync(place)
    .filter((name) => /^peer-\d+$/.test(name))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
  for (const folder of [place, ...peers.map((name) => join(place, name))]) {
    const file = [join(folder, RUN_LOG), join(folder, 'final', RUN_LOG)].find((each) => existsSync(each))
    if (file !== undefined) return fromFile(file)
    if (existsSync(join(folder, 'run.cbor'))) return fromNode(folder)
  }
  const message = `${path} holds no contributions: neither ${RUN_LOG}, nor final/${RUN_LOG}, nor the records of a node`
  throw new StarlingError('log-missing', message, { path })
}

async function fromFile(path: string): Promise<OpenedLog> {
  const { size } = statSync(path)
  const log = await read(path, size)
  const { run, options } = await runOf(log.manifest, path)
  return {
    path,
    run,
    options,
    authors: log.authors,
    excluded: log.proofs.map(({ author, step }) => ({ author, step })),
    digest: toHex(log.digest),
    bytes: size,
    ...weightsOf(run, dirname(path)),
    damage: [],
  }
}

async function read(path: string, size: number): Promise<RunLog> {
  const { verifySignature } = await import('../network/index.ts')
  try {
    const bytes = size > MAX_RUN_LOG_BYTES ? new Uint8Array(0) : readUserFile(path)
    return await decodeRunLog(bytes, { verify: verifySignature, clock: { sleep: turn } })
  } catch (error) {
    if (!(error instanceof StarlingError) || error.code !== 'bad-run-log') throw error
    const message = `${path} is no whole run log: ${size > MAX_RUN_LOG_BYTES ? `it has ${size} bytes` : error.data.reason}`
    throw new StarlingError('bad-run-log', message, { ...error.data, path }, { cause: error })
  }
}

/** The records of a node that does not run. */
async function fromNode(path: string): Promise<OpenedLog> {
  const [{ openDataFolder }, { verifySignature }] = await Promise.all([
    import('../storage/index.ts'),
    import('../network/index.ts'),
  ])
  const { run, options } = await runOf(readFileSync(join(path, 'run.cbor')), path)
  const folder = await openDataFolder(path)
  try {
    const damage = folder.repaired === undefined ? [] : [`the records were damaged (${folder.repaired}) and repaired`]
    const log = createLog(
      { run: run.id, self: '', steps: run.training.steps, maxAuthors: options.maxAuthors },
      {
        records: unwritten(folder.records('strategy')),
        sign: () => Promise.reject(new StarlingError('usage', 'a log that is only read signs nothing')),
        verify: verifySignature,
        clock: { sleep: turn },
        report: (event) => {
          if (event.kind === 'rejected') damage.push(`${event.what} of ${event.peer}: ${event.reason}`)
        },
      },
    )
    await log.open()
    const authors = new Map([...log.version().keys()].map((author) => [author, log.bytesOf(author)] as const))
    const excluded = [...log.excluded().values()].map(({ author, step }) => ({ author, step }))
    const digest = toHex(log.digest())
    return { path, run, options, authors, excluded, digest, ...weightsOf(run, join(path, 'final')), damage }
  } finally {
    await folder.close()
  }
}

/** The same records for one who only looks: what a node would tidy up stays as it is. */
function unwritten(records: RecordStore): RecordStore {
  return { get: records.get, keys: records.keys, put: async () => {}, delete: async () => {} }
}

async function runOf(manifest: Uint8Array, path: string): Promise<{ run: Run; options: SpsaOptions }> {
  const { openRun } = await import('../run/index.ts')
  const run = openRun(manifest)
  const { name, ...options } = run.manifest.strategy
  if (name === 'spsa') return { run, options: options as unknown as SpsaOptions }
  const message = `${path} is of a run with strategy ${name}, whose parameters do not follow from contributions`
  throw new StarlingError('log-missing', message, { path, strategy: name })
}

function weightsOf(run: Run, folder: string): { weights?: string } {
  const { weights } = run.manifest.model
  const found = weights === undefined ? undefined : nearby(folder, weights.root)
  return found === undefined ? {} : { weights: found }
}

/** Ctrl-C gets a turn. */
const turn = (): Promise<void> => sleep(0)
