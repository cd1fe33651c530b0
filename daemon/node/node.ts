import '../shims.ts'
import type { GenerateOptions } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'
import type { EventLog } from '../events/index.ts'
import { explain, type Facts, Situation, TransferWatch } from '../explain/index.ts'
import type { Log, LogFile } from '../log/index.ts'
import { diskFull } from '../storage/index.ts'
import type { NodeOptions, RunningNode } from '../types.ts'
import { finishRun } from './finish.ts'
import { networkFacts } from './network.ts'
import { Parts, within } from './parts.ts'
import { type Built, type Started, start } from './start.ts'
import { createProgress, peersOf, type StateModules, statusOf } from './state.ts'
import { writeText } from './write-text.ts'

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
  readonly #built: Built = {
    parts: new Parts(),
    progress: createProgress(),
    situation: new Situation(Date.now()),
    transfers: new TransferWatch(),
    page: '',
  }
  #settle!: { resolve(): void; reject(error: unknown): void }
  #starting: Promise<void> = Promise.resolve()
  #training: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined
  #done = false

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

  async #start(): Promise<void> {
    const context = { options: this.#options, log: this.#log, logFile: this.#logFile, startedAt: this.#startedAt }
    const started = await start(this.#built, { ...context, node: this }, this.#closing.signal)
    this.#training = this.#train(started)
  }

  /** Trains to the end, finishes, and fails the node if either breaks. Never rejects. */
  async #train({ run, folder, swarm, blobs, session, reporter }: Started): Promise<void> {
    const { signal } = this.#closing
    const finish = (): Promise<void> => {
      const emit = reporter.emit.bind(reporter)
      const waiting = (words: string): void => reporter.waiting('others', words)
      return finishRun(run, folder, { swarm, blobs, session, log: this.#log, emit, waiting }, signal)
    }
    try {
      await Promise.race([session.strategy.run(signal), session.learner.failed])
      if (signal.aborted) return
      await Promise.race([finish(), session.learner.failed])
      this.#done = true
      this.#built.progress.phase = 'finished'
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
    const { known } = this.#built
    if (known === undefined)
      throw new StarlingError('not-ready', 'the node has no manifest yet; starling explain says what it waits for')
    return known
  }

  get #events(): EventLog {
    if (this.#built.own === undefined) throw new StarlingError('not-ready', 'the node is starting')
    return this.#built.own.events
  }

  get page(): string {
    return this.#built.page
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
    const { network, known, own, situation, transfers } = this.#built
    const facts: Facts = {
      now: Date.now(),
      self: own?.self,
      situation,
      network: network === undefined ? undefined : networkFacts(network),
      node: known === undefined ? undefined : statusOf(known),
      others: known === undefined ? [] : peersOf(known).filter(({ self }) => !self),
      transfer: transfers.largest,
    }
    return [{ ...explain(facts), peer: own?.self ?? '', name: this.#options.name ?? '' }]
  }

  onEvent(listener: Parameters<RunningNode['onEvent']>[0]): () => void {
    return this.#events.listen(listener)
  }

  metrics(): ReturnType<RunningNode['metrics']> {
    return this.#open.metrics.text()
  }

  async generate(options: GenerateOptions): Promise<string> {
    const { session } = this.#built
    if (session === undefined) throw new StarlingError('not-ready', 'the model is not here yet')
    return writeText(this.#open.run, session, options, this.#closing.signal)
  }

  stop(reason: string): Promise<void> {
    // The first thing that a stop does is to tell its listeners, who may call it again.
    this.#stopping ??= Promise.resolve().then(() => this.#stop(reason))
    return this.#stopping
  }

  async #stop(reason: string): Promise<void> {
    const { parts, progress, own } = this.#built
    this.#log.info('stopping', { reason })
    own?.events.record({ kind: 'stopping', reason })
    progress.phase = 'stopping'
    this.#closing.abort(new StarlingError('aborted', `the node stops: ${reason}`))
    // A start under way gives up at its next step; what it has begun until then is stopped below with the rest.
    await within(
      GIVE_UP_TIMEOUT,
      this.#starting.catch(() => {}), // whoever started the node sees its error
    )
    await within(REST_TIMEOUT, this.#training)
    const { session } = this.#built
    if (session !== undefined && !this.#done) {
      const step = session.checkpointer.now(AbortSignal.timeout(LAST_CHECKPOINT_TIMEOUT))
      await within(LAST_CHECKPOINT_TIMEOUT, step).catch((error: unknown) =>
        this.#log.warn('the last checkpoint could not be written; the one before it counts', {}, error),
      )
    }
    await parts.stop(this.#log)
    this.#log.info('stopped', { reason })
    await this.#logFile?.close()
  }
}
