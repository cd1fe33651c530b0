import '../shims.ts'
import type { DataFile, GenerateOptions } from '../../models/index.ts'
import {
  createBlobs,
  createSwarm,
  type PeerName,
  StarlingError,
  type StrategyEvent,
  serveManifest,
} from '../../protocols/index.ts'
import { serveApi } from '../api/index.ts'
import { createEventLog, createNews, type EventLog, type OwnEvent } from '../events/index.ts'
import { explain, type Facts, Situation, TransferWatch } from '../explain/index.ts'
import type { Log, LogFile } from '../log/index.ts'
import { createMetrics } from '../metrics/index.ts'
import { loadOrCreateIdentity, type Network } from '../network/index.ts'
import { filesOf, obtainFiles } from '../run/index.ts'
import { diskFull, LOG_FILE, openDataFolder } from '../storage/index.ts'
import type { NodeOptions, RunningNode } from '../types.ts'
import { chooseRun, keepRun } from './choose-run.ts'
import { connect } from './connect.ts'
import { finishRun } from './finish.ts'
import { guardProcess } from './guard.ts'
import { nextIncarnation } from './incarnation.ts'
import { loadKnownPeers } from './known-peers.ts'
import { networkFacts, reportOf, trafficOf } from './network.ts'
import { Parts, within } from './parts.ts'
import { Reporter } from './reporter.ts'
import { createSampler } from './sampler.ts'
import { openSession, type Session } from './session.ts'
import { createProgress, followSets, peersOf, type StateModules, statusOf, VERSION } from './state.ts'
import { writeText } from './write-text.ts'

/** What is worth a checkpoint, when the last one is old enough. */
const CHECKPOINTED: ReadonlySet<StrategyEvent['kind']> = new Set([
  'exchange',
  'exchange-skipped',
  'contributions',
  'mixed',
])

/** What a node needs from the process it runs in. */
export interface NodeContext {
  /** Aborting it while the node starts gives up; once it runs, it stops it. */
  signal: AbortSignal
  log: Log
  /** Where the log is kept, once there is a data folder. */
  logFile?: LogFile
  /** Is handed the node at once, so that whoever starts it can say what the start waits for. */
  starting?: (node: Pick<RunningNode, 'explain'>) => void
}

/** Time between two looks whether a peer of a pipeline is to write a checkpoint, milliseconds: those that only hold stages report nothing as they go. */
const CHECKPOINT_LOOK = 5_000

/** Longest wait for a start to give up when the node stops meanwhile, milliseconds: the engine is loaded to the end. */
const GIVE_UP_TIMEOUT = 25_000

/** Longest wait for the strategy to come to rest when the node stops, milliseconds. A stop has five seconds in all. */
const REST_TIMEOUT = 1_500

/** Longest wait for the last checkpoint when the node stops, milliseconds; the one before it counts then. */
const LAST_CHECKPOINT_TIMEOUT = 2_000

/**
 * Starts one node and resolves once it trains. A joiner first fetches manifest and data from peers; its API and page are served from the first moment, so that
 * it can be asked what it waits for. Throws StarlingError or ModelError: 'data-folder-in-use', 'no-run', 'folder-other-run', 'bad-manifest', 'bad-link',
 * 'no-peer-reachable', 'listen-failed', 'port-in-use', 'data-...', 'checkpoint-corrupt', 'engine-missing', 'aborted', ...; nothing is left running then.
 */
export async function startNode(
  options: NodeOptions,
  { signal, log, logFile, starting }: NodeContext,
): Promise<RunningNode> {
  const node = new Node(options, log, logFile)
  const onAbort = (): void => void node.stop('aborted').catch(() => {}) // whoever awaits stop() sees its error
  signal.throwIfAborted()
  signal.addEventListener('abort', onAbort, { once: true })
  starting?.(node)
  try {
    await node.start()
    return node
  } catch (error) {
    await node.stop('start failed').catch(() => {}) // the first error is the one that counts
    throw signal.aborted ? new StarlingError('aborted', 'the start was given up') : error
  }
}

class Node implements RunningNode {
  readonly finished: Promise<void>
  readonly #options: NodeOptions
  readonly #log: Log
  readonly #logFile: LogFile | undefined
  readonly #startedAt = performance.now()
  readonly #closing = new AbortController()
  readonly #parts = new Parts()
  readonly #progress = createProgress()
  #settle!: { resolve(): void; reject(error: unknown): void }
  readonly #situation = new Situation(Date.now())
  readonly #transfers = new TransferWatch()
  /** Its name, and what happened, once its key is read. */
  #own: { self: PeerName; events: EventLog } | undefined
  /** Open now; a joiner has another one before it knows the manifest. */
  #network: Network | undefined
  /** What there is to tell of the run, once the manifest is known. */
  #known: StateModules | undefined
  #session: Session | undefined
  #starting: Promise<void> = Promise.resolve()
  #training: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined
  #done = false
  page = ''

  constructor(options: NodeOptions, log: Log, logFile: LogFile | undefined) {
    this.#options = options
    this.#log = log
    this.#logFile = logFile
    this.finished = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Whoever waits for it sees the error; without anybody it is in the log.
    this.finished.catch(() => {})
  }

  /** Throws, leaving {@link stop} to undo what was done. */
  start(): Promise<void> {
    this.#starting = this.#start()
    return this.#starting
  }

  /** Builds everything in the order in which it stands on one another. */
  async #start(): Promise<void> {
    const options = this.#options
    const log = this.#log
    const parts = this.#parts
    const progress = this.#progress
    const { signal } = this.#closing

    const folder = await openDataFolder(options.dataFolder)
    parts.add('data folder', () => folder.close())
    this.#logFile?.open(folder.file(LOG_FILE), (error) => log.warn('the log cannot be kept on disk', {}, error))
    log.info('starting', { version: VERSION, node: process.version, folder: folder.path })
    if (folder.repaired !== undefined)
      log.warn(
        'the records of the data folder were damaged and have been repaired; what was lost comes from peers again',
        {
          folder: folder.path,
          damage: folder.repaired,
        },
      )
    const identity = await loadOrCreateIdentity(folder.path)
    const chosen = await chooseRun(options, folder)
    const known = await loadKnownPeers(folder, log)
    const events = createEventLog({
      self: identity.peer,
      onError: (error) => log.warn('an event listener failed', {}, error),
    })
    events.listen((event) => {
      if (event.peer === identity.peer) this.#situation.observe(event)
    })
    this.#own = { self: identity.peer, events }

    const api = await serveApi({ ...options.api, dataFolder: folder.path }, { node: this, log: log.child('api') })
    parts.add('api', () => api.close())
    this.page = api.page
    signal.throwIfAborted()

    const opened = (network: Network): void => {
      this.#network = network
      network.onEvent((event) => this.#situation.network(event, Date.now()))
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
    const { path } = folder
    const state = { run, network, swarm, metrics, progress, sets, options, folder: path, startedAt: this.#startedAt }
    this.#known = state
    const reporter = new Reporter({ network, swarm, events, metrics, progress, log })
    network.onEvent((event) => reporter.network(event))
    await swarm.start()
    parts.add('swarm', () => swarm.stop())
    const news = createNews({ swarm, log: events })
    reporter.gossip(news)
    parts.add('news', () => news.stop())
    parts.add('reporter', () => reporter.stop())

    const blobs = this.#transfers.watch(createBlobs(swarm))
    parts.add('blobs', () => blobs.stop())
    const { dataPath, weightsPath } = options.local
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
    const { weights } = run.manifest.model
    const paths = {
      ...(await obtain(filesOf(run.manifest.data), 'data', dataPath)),
      ...(await obtain(weights === undefined ? [] : [weights], 'model.weights', weightsPath)),
    }

    const emit = (event: OwnEvent): void => reporter.emit(event)
    const report = (event: StrategyEvent): void => {
      reporter.report(event)
      if (CHECKPOINTED.has(event.kind)) this.#session?.checkpointer.round()
      if (event.kind === 'evaluation') sampler?.evaluated(event.step)
    }
    const { threads, resume, engine, attack } = options
    const session = await openSession(
      run,
      {
        threads,
        resume,
        paths,
        ...(engine === undefined ? {} : { engine }),
        ...(attack === undefined ? {} : { attack }),
      },
      {
        folder,
        swarm,
        blobs,
        log,
        emit,
        report,
        took: (operation, milliseconds) => metrics.stage(operation, milliseconds),
      },
      signal,
    )
    parts.add('trainer', () => session.learner.close())
    signal.throwIfAborted()
    this.#session = session
    progress.engine = session.learner.engine
    const { learner } = session
    const write = (options: GenerateOptions): Promise<string> => writeText(run, session, options, signal)
    const sampler = createSampler(run, { write, emit, log, now: () => swarm.clock.now() })
    if (run.cut !== undefined) {
      const looks = setInterval(() => session.checkpointer.round(), CHECKPOINT_LOOK)
      parts.add('checkpoints', () => clearInterval(looks))
    }
    emit({ kind: 'started', run: run.id, listen: network.addresses(), engine: learner.engine.name })
    if (session.resumed !== undefined) emit({ kind: 'resumed', ...session.resumed })
    parts.add('guard', guardProcess(this, log))
    // Loading code and data stalls the thread for seconds, which says nothing about the run.
    metrics.resetEventLoop()
    const waiting = (words: string): void => reporter.waiting('others', words)
    this.#training = this.#train(session, () =>
      finishRun(run, folder, { swarm, blobs, session, log, emit, waiting }, signal),
    )
  }

  /** Trains to the end, finishes, and fails the node if either breaks. Never rejects. */
  async #train(session: Session, finish: () => Promise<void>): Promise<void> {
    const { signal } = this.#closing
    try {
      await Promise.race([session.strategy.run(signal), session.learner.failed])
      if (signal.aborted) return
      await Promise.race([finish(), session.learner.failed])
      this.#done = true
      this.#progress.phase = 'finished'
      this.#settle.resolve()
    } catch (error) {
      if (signal.aborted) {
        this.#log.debug('training ended with an error while the node stops', {}, error)
        return
      }
      const failure = diskFull(this.#options.dataFolder, error) ?? error
      this.#log.error('training failed; the node stops', {}, failure)
      this.#settle.reject(failure)
      const reason = `training failed: ${failure instanceof Error ? failure.message : String(failure)}`
      void this.stop(reason).catch(() => {}) // logged there
    }
  }

  get #open(): StateModules {
    if (this.#known === undefined)
      throw new StarlingError('not-ready', 'the node has no manifest yet; starling explain says what it waits for')
    return this.#known
  }

  get #events(): EventLog {
    if (this.#own === undefined) throw new StarlingError('not-ready', 'the node is starting')
    return this.#own.events
  }

  get peer(): string {
    return this.#open.network.self
  }

  status(): ReturnType<RunningNode['status']> {
    return statusOf(this.#open)
  }

  peers(): ReturnType<RunningNode['peers']> {
    return peersOf(this.#open)
  }

  events(after?: number): ReturnType<RunningNode['events']> {
    return this.#events.since(after)
  }

  explain(): ReturnType<RunningNode['explain']> {
    const network = this.#network
    const facts: Facts = {
      now: Date.now(),
      situation: this.#situation,
      network: network === undefined ? undefined : networkFacts(network),
      node: this.#known === undefined ? undefined : statusOf(this.#known),
      others: this.#known === undefined ? [] : peersOf(this.#known).filter(({ self }) => !self),
      transfer: this.#transfers.largest,
    }
    return [{ ...explain(facts), peer: this.#own?.self ?? '', name: this.#options.name ?? '' }]
  }

  onEvent(listener: Parameters<RunningNode['onEvent']>[0]): () => void {
    return this.#events.listen(listener)
  }

  metrics(): ReturnType<RunningNode['metrics']> {
    return this.#open.metrics.text()
  }

  async generate(options: GenerateOptions): Promise<string> {
    if (this.#session === undefined) throw new StarlingError('not-ready', 'the model is not here yet')
    return writeText(this.#open.run, this.#session, options, this.#closing.signal)
  }

  stop(reason: string): Promise<void> {
    // The first thing that a stop does is to tell its listeners, who may call it again.
    this.#stopping ??= Promise.resolve().then(() => this.#stop(reason))
    return this.#stopping
  }

  async #stop(reason: string): Promise<void> {
    this.#log.info('stopping', { reason })
    this.#own?.events.record({ kind: 'stopping', reason })
    this.#progress.phase = 'stopping'
    this.#closing.abort(new StarlingError('aborted', `the node stops: ${reason}`))
    // A start under way gives up at its next step; what it has begun until then is stopped below with the rest.
    await within(
      GIVE_UP_TIMEOUT,
      this.#starting.catch(() => {}), // whoever started the node sees its error
    )
    await within(REST_TIMEOUT, this.#training)
    if (this.#session !== undefined && !this.#done) {
      const step = this.#session.checkpointer.now(AbortSignal.timeout(LAST_CHECKPOINT_TIMEOUT))
      await within(LAST_CHECKPOINT_TIMEOUT, step).catch((error: unknown) =>
        this.#log.warn('the last checkpoint could not be written; the one before it counts', {}, error),
      )
    }
    await this.#parts.stop(this.#log)
    this.#log.info('stopped', { reason })
    await this.#logFile?.close()
  }
}
