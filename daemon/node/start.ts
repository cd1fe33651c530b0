/** The start of a node: everything that it consists of, in the order in which it stands on one another. */
import type { DataFile } from '../../models/index.ts'
import {
  type Blobs,
  createBlobs,
  createSwarm,
  type PeerName,
  type RunningSwarm,
  type StrategyEvent,
  serveManifest,
} from '../../protocols/index.ts'
import { endedWithoutStop, serveApi } from '../api/index.ts'
import { createEventLog, createNews, type EventLog } from '../events/index.ts'
import type { Situation, TransferWatch } from '../explain/index.ts'
import type { Log, LogFile } from '../log/index.ts'
import { createMetrics, type Metrics } from '../metrics/index.ts'
import { type Identity, loadOrCreateIdentity, type Network } from '../network/index.ts'
import { filesOf, obtainFiles, type Run } from '../run/index.ts'
import { type DataFolder, LOG_FILE, openDataFolder } from '../storage/index.ts'
import type { NodeOptions, RunningNode } from '../types.ts'
import { type ChosenRun, chooseRun, keepRun } from './choose-run.ts'
import { connect } from './connect.ts'
import { guardProcess } from './guard.ts'
import { nextIncarnation } from './incarnation.ts'
import { type KnownPeers, loadKnownPeers } from './known-peers.ts'
import { reportOf, trafficOf } from './network.ts'
import type { Parts } from './parts.ts'
import { Reporter } from './reporter.ts'
import { createSampler } from './sampler.ts'
import { openSession, type Session } from './session.ts'
import { followSets, type Progress, type StateModules, VERSION } from './state.ts'
import { writeText } from './write-text.ts'

/** What is worth a checkpoint, when the last one is old enough. */
const CHECKPOINTED: ReadonlySet<StrategyEvent['kind']> = new Set([
  'exchange',
  'exchange-skipped',
  'contributions',
  'mixed',
])

/** Time between two looks whether a peer of a pipeline is to write a checkpoint, milliseconds: those that only hold stages report nothing as they go. */
const CHECKPOINT_LOOK = 5_000

/** What there is of a node by now. The start fills it in from top to bottom; what a node answers, and what a stop has to undo, is read from it meanwhile. */
export interface Built {
  /** What runs, and how to stop it. */
  readonly parts: Parts
  readonly progress: Progress
  readonly situation: Situation
  readonly transfers: TransferWatch
  /** Its name, and what happened, once its key is read. */
  own?: { self: PeerName; events: EventLog }
  /** URL of the page; empty until it is served. */
  page: string
  /** Open now; a joiner has another one before it knows the manifest. */
  network?: Network
  /** What there is to tell of the run, once the manifest is known. */
  known?: StateModules
  session?: Session
}

/** What a start works with. */
export interface StartContext {
  options: NodeOptions
  log: Log
  logFile: LogFile | undefined
  /** The node itself, for those who ask it or stop it. */
  node: RunningNode
  /** Monotonic time at which the node was made, milliseconds. */
  startedAt: number
}

/** What runs when the start is over. */
export interface Started {
  run: Run
  folder: DataFolder
  swarm: RunningSwarm
  blobs: Blobs
  session: Session
  reporter: Reporter
}

/**
 * Starts every part, giving up at the next one when the signal aborts. Throws what the parts throw and leaves what it has begun to `built.parts.stop()`.
 */
export async function start(built: Built, context: StartContext, signal: AbortSignal): Promise<Started> {
  const { parts, progress } = built
  const { options, log, node } = context
  const home = await openHome(built, context)
  signal.throwIfAborted()
  const { network, run } = await enter(built, context, home, signal)
  signal.throwIfAborted()
  const { swarm, metrics, reporter, blobs } = await openSwarm(built, context, { ...home, network, run })
  const { folder } = home
  const paths = await fetchFiles(run, { folder, network, swarm, blobs, reporter, options }, signal)
  const session = await openSession(
    run,
    { ...options, paths },
    {
      folder,
      swarm,
      blobs,
      log,
      emit: (event) => reporter.emit(event),
      report: (event) => {
        reporter.report(event)
        if (CHECKPOINTED.has(event.kind)) built.session?.checkpointer.round()
        if (event.kind === 'evaluation') sampler?.evaluated(event.step)
      },
      took: (operation, milliseconds) => metrics.stage(operation, milliseconds),
    },
    signal,
  )
  const { learner, resumed, checkpointer } = session
  parts.add('trainer', () => learner.close())
  signal.throwIfAborted()
  built.session = session
  progress.engine = learner.engine
  const sampler = createSampler(run, {
    write: (request) => writeText(run, session, request, signal),
    emit: (event) => reporter.emit(event),
    log,
    now: () => swarm.clock.now(),
  })
  if (run.cut !== undefined) {
    const looks = setInterval(() => checkpointer.round(), CHECKPOINT_LOOK)
    parts.add('checkpoints', () => clearInterval(looks))
  }
  reporter.emit({ kind: 'started', run: run.id, listen: network.addresses(), engine: learner.engine.name })
  if (resumed !== undefined) reporter.emit({ kind: 'resumed', ...resumed })
  parts.add('guard', guardProcess(node, log))
  // Loading code and data stalls the thread for seconds, which says nothing about the run.
  metrics.resetEventLoop()
  return { run, folder, swarm, blobs, session, reporter }
}

interface Home {
  folder: DataFolder
  identity: Identity
  chosen: ChosenRun
  known: KnownPeers
  events: EventLog
}

/** What is there without any run: the data folder, the key, the events, the API and the page. */
async function openHome(built: Built, { options, log, logFile, node }: StartContext): Promise<Home> {
  const { parts, situation } = built
  const folder = await openDataFolder(options.dataFolder)
  parts.add('data folder', () => folder.close())
  logFile?.open(folder.file(LOG_FILE), (error) => log.warn('the log cannot be kept on disk', {}, error))
  log.info('starting', { version: VERSION, node: process.version, folder: folder.path })
  if (folder.repaired !== undefined)
    log.warn(
      'the records of the data folder were damaged and have been repaired; what was lost comes from peers again',
      { folder: folder.path, damage: folder.repaired },
    )
  if (endedWithoutStop(folder.path))
    log.warn(
      'the process before did not stop but was ended: by somebody, by the system for want of memory, or with the machine; its last checkpoint counts',
      { folder: folder.path },
    )
  const identity = await loadOrCreateIdentity(folder.path)
  const chosen = await chooseRun(options, folder)
  const known = await loadKnownPeers(folder, log)
  const events = createEventLog({
    self: identity.peer,
    onError: (error) => log.warn('an event listener failed', {}, error),
  })
  events.listen((event) => {
    if (event.peer === identity.peer) situation.observe(event)
  })
  built.own = { self: identity.peer, events }
  const api = await serveApi({ ...options.api, dataFolder: folder.path }, { node, log: log.child('api') })
  parts.add('api', () => api.close())
  built.page = api.page
  return { folder, identity, chosen, known, events }
}

/** The network, and the run itself: from the user, the folder or a peer. */
async function enter(
  built: Built,
  { options, log }: StartContext,
  { folder, identity, chosen, known }: Home,
  signal: AbortSignal,
): Promise<{ network: Network; run: Run }> {
  const { parts, situation } = built
  const opened = (network: Network): void => {
    built.network = network
    network.onEvent((event) => situation.network(event, Date.now()))
  }
  const { network, run } = await connect(chosen, { options, identity, folder, known, log, opened }, signal)
  parts.add('network', () => network.stop())
  const unwatch = known.watch(network)
  parts.add('known peers', async () => {
    unwatch()
    await known.save()
  })
  signal.throwIfAborted()
  await keepRun(folder, run)
  serveManifest(network, run.bytes)
  return { network, run }
}

/** The others of the run, what is told of this node, and bulk by hash. */
async function openSwarm(
  built: Built,
  { options, log, startedAt }: StartContext,
  { folder, events, network, run }: Home & { network: Network; run: Run },
): Promise<{ swarm: RunningSwarm; metrics: Metrics; reporter: Reporter; blobs: Blobs }> {
  const { parts, progress, transfers } = built
  const swarm = createSwarm(network, {
    run: run.id,
    incarnation: await nextIncarnation(folder),
    onChange: (change) => reporter.member(change),
    onTwin: () =>
      log.error(
        'another process runs with the key of this peer: a data folder was copied; stop one of the two and remove identity.key from its folder',
        { folder: folder.path },
      ),
  })
  const metrics = createMetrics({
    traffic: () => trafficOf(network.counters()),
    members: () => swarm.members().length + 1,
    connections: () => network.connected().length,
    network: () => reportOf(network),
    info: { peer: network.self, name: options.name ?? '', run: run.id, version: VERSION },
  })
  parts.add('metrics', () => metrics.stop())
  const sets = followSets(events)
  built.known = { run, network, swarm, metrics, progress, sets, options, folder: folder.path, startedAt }
  const reporter = new Reporter({ network, swarm, events, metrics, progress, log })
  network.onEvent((event) => reporter.network(event))
  await swarm.start()
  parts.add('swarm', () => swarm.stop())
  const news = createNews({ swarm, log: events })
  reporter.gossip(news)
  parts.add('news', () => news.stop())
  parts.add('reporter', () => reporter.stop())
  const blobs = transfers.watch(createBlobs(swarm))
  parts.add('blobs', () => blobs.stop())
  return { swarm, metrics, reporter, blobs }
}

/** Paths of the files that the manifest names, by their hashes: the user's own, kept ones, or from peers. */
async function fetchFiles(
  run: Run,
  from: {
    folder: DataFolder
    network: Network
    swarm: RunningSwarm
    blobs: Blobs
    reporter: Reporter
    options: NodeOptions
  },
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { folder, network, swarm, blobs, reporter, options } = from
  const obtain = (files: DataFile[], key: string, localPath: string | undefined): Promise<Record<string, string>> =>
    obtainFiles(
      files,
      { folder: folder.file('data'), key, signal, ...(localPath === undefined ? {} : { localPath }) },
      {
        clock: swarm.clock,
        blobs,
        holders: () => network.connected(),
        waiting: (words) => reporter.waiting('file', words),
      },
    )
  const { dataPath, weightsPath } = options.local
  const { weights } = run.manifest.model
  return {
    ...(await obtain(filesOf(run.manifest.data), 'data', dataPath)),
    ...(await obtain(weights === undefined ? [] : [weights], 'model.weights', weightsPath)),
  }
}
