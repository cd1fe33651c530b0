import { Worker } from 'node:worker_threads'
import type { SharedVectors } from '../../kernels/index.ts'
import { type GenerateOptions, prepareEngineEnvironment, type StepReport } from '../../models/index.ts'
import {
  type ComputeTask,
  type EvaluationSummary,
  type Learner,
  type StageLearner,
  StarlingError,
} from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { DaemonEvent } from '../types.ts'
import { ATTEMPTS, CRASH_WINDOW, MAX_CRASHES } from './attempts.ts'
import {
  CONTROL,
  type FromTrainer,
  type ToTrainer,
  type TrainerCall,
  type TrainerData,
  type TrainerEngine,
  type TrainerSetup,
} from './messages.ts'
import { createStages } from './stages.ts'

/** Calls waiting for the trainer thread; one more is refused. Strategies keep one to three in flight. */
const MAX_CALLS = 64

/** Milliseconds a closing trainer may take for the step it is in, before its thread is ended. */
const CLOSE_TIMEOUT = 1_500

/** The same for a thread that is loading its engine: ended in the middle of that, the native library takes the process down (tfjs-node 4.22). */
const LOAD_TIMEOUT = 20_000

/** The learner of a node, with what the daemon needs beyond the port. */
export interface LocalLearner extends Learner {
  readonly engine: TrainerEngine
  /** The parts of the model, at a peer of a pipeline. The calls for a whole model are refused with 'no-whole-model' then. */
  readonly stages?: StageLearner
  generate(options: GenerateOptions, signal?: AbortSignal): Promise<string>
  /** Copies the named vectors between two steps into `into`, one after the other; resolves to the step they belong to. */
  snapshot(names: readonly string[], into: SharedArrayBuffer, signal?: AbortSignal): Promise<number>
  /** Live tensors of the engine. */
  tensors(): Promise<number>
  /** Rejects with 'trainer-failed' once the trainer is given up; never resolves. */
  readonly failed: Promise<never>
  close(): Promise<void>
}

export interface LearnerModules {
  vectors: SharedVectors
  log: Log
  onEvent(event: DaemonEvent): void
}

interface Pending {
  call: TrainerCall
  attempts: number
  aborted: boolean
  onStep: ((report: StepReport) => void) | undefined
  resolve(value: unknown): void
  reject(error: Error): void
}

/**
 * Starts the trainer thread and resolves once its engine and data are open. The parameters live in `modules.vectors`, so they, the gradient and
 * the optimizer's moments survive the thread: when it dies, a new one takes over at the same step, calls in progress are begun again (but not a
 * `compute` or a pass through a stage that was running: half of it may be done, so that one fails with 'trainer-crashed'). A death in the middle of an optimizer's pass can
 * leave a part of the parameters one step ahead; training absorbs that. At a peer of a pipeline (`setup.cut`) the sums of gradients and the stages of its
 * places survive as well, but not the forward passes that waited in slots: their backward passes fail with 'slot-unknown'.
 *
 * Throws what the thread failed with while it started ('engine-missing', 'data-...'), and 'aborted'.
 */
export async function createLearner(
  setup: TrainerSetup,
  modules: LearnerModules,
  options: { initialize: boolean; step: number; signal?: AbortSignal },
): Promise<LocalLearner> {
  const { vectors, log, onEvent } = modules
  // TensorFlow reads these when it is loaded, from the environment of the process and not from the worker's copy.
  prepareEngineEnvironment(setup.threads)

  const { cut, training } = setup
  const buffer = new SharedArrayBuffer((CONTROL.held + (cut?.places ?? 0)) * 4)
  const control = new Int32Array(buffer)
  control[CONTROL.step] = options.step
  const pending = new Map<number, Pending>() // at most MAX_CALLS
  let nextId = 1
  let worker: Worker | undefined
  /** The worker has not said yet that it is ready. */
  let loading = false
  let engine: TrainerEngine | undefined
  let state: 'starting' | 'running' | 'restarting' | 'closing' | 'failed' = 'starting'
  let crashes: number[] = [] // times of the crashes within CRASH_WINDOW, at most MAX_CRASHES + 1
  let restarts = 0

  let giveUp: (error: Error) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    giveUp = reject
  })
  failed.catch(() => {}) // whoever races against it sees the error; without anybody it is in the log

  const post = (message: ToTrainer): void => worker?.postMessage(message)

  const receive = (message: FromTrainer): void => {
    if (message.kind === 'ready' || message.kind === 'start-failed') return
    const entry = pending.get(message.id)
    if (entry === undefined) return
    if (message.kind === 'step') {
      try {
        entry.onStep?.(message.report)
      } catch (error) {
        // A caller that cannot take its reports gets its own error back, and the thread goes on.
        pending.delete(message.id)
        post({ kind: 'abort', id: message.id })
        entry.reject(error instanceof Error ? error : new Error(String(error)))
      }
      return
    }
    pending.delete(message.id)
    if (message.kind === 'done') entry.resolve(message.value)
    else entry.reject(new StarlingError(message.code, message.message, message.data))
  }

  /** Starts a thread; resolves when it is ready, rejects when it dies or fails before. */
  const start = (initialize: boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const data: TrainerData = { setup, control: buffer, initialize, step: Atomics.load(control, CONTROL.step) }
      const thread = new Worker(new URL('./worker.js', import.meta.url), { workerData: data, name: 'starling-trainer' })
      worker = thread
      loading = true
      let ready = false
      let cause: Error | undefined
      thread.on('message', (message: FromTrainer) => {
        if (message.kind === 'ready') {
          engine = message.engine
          ready = true
          loading = false
          resolve()
        } else if (message.kind === 'start-failed') {
          cause = new StarlingError(message.code, message.message, message.data)
        } else receive(message)
      })
      thread.on('error', (error) => {
        cause ??= error instanceof Error ? error : new Error(String(error))
      })
      thread.on('exit', (code) => {
        if (worker === thread) worker = undefined
        const error =
          cause ?? new StarlingError('trainer-crashed', `the trainer thread ended with code ${code}`, { code })
        if (!ready) reject(error)
        else if (state === 'running') void recover(error)
      })
    })

  const fail = (error: StarlingError): void => {
    state = 'failed'
    for (const entry of pending.values()) entry.reject(error)
    pending.clear()
    giveUp(error)
  }

  const recover = async (cause: Error): Promise<void> => {
    state = 'restarting'
    const job = Atomics.exchange(control, CONTROL.job, 0)
    for (let error = cause; ; ) {
      const now = Date.now()
      crashes = [...crashes.filter((time) => now - time < CRASH_WINDOW), now]
      restarts += 1
      onEvent({ kind: 'trainer-crashed', message: error.message, restarts })
      if (crashes.length > MAX_CRASHES) {
        fail(
          new StarlingError(
            'trainer-failed',
            `the trainer died ${crashes.length} times in ten minutes, last with: ${error.message}`,
            {},
            { cause: error },
          ),
        )
        return
      }
      try {
        await start(false)
        break
      } catch (failure) {
        // The state may have been changed by `close` while the thread started.
        if ((state as string) === 'closing') return
        error = failure instanceof Error ? failure : new Error(String(failure))
      }
    }
    if ((state as string) === 'closing') return
    state = 'running'
    const step = Atomics.load(control, CONTROL.step)
    onEvent({ kind: 'trainer-restarted', step })
    log.warn('the trainer was started again from memory', { step, calls: pending.size })
    for (const [id, entry] of pending) {
      const { method } = entry.call
      if (id === job) entry.attempts += 1
      if (entry.attempts >= ATTEMPTS[method]) {
        pending.delete(id)
        entry.reject(
          new StarlingError('trainer-crashed', `the trainer died during ${method}: ${cause.message}`, { method }),
        )
      } else if (entry.aborted) {
        pending.delete(id)
        end(entry)
      } else post({ kind: 'call', id, call: entry.call })
    }
  }

  /** Ends an aborted call: a training that stops early has done what it was asked to. */
  const end = (entry: Pending): void => {
    if (entry.call.method === 'train') entry.resolve(undefined)
    else entry.reject(new StarlingError('aborted', `${entry.call.method} was aborted`))
  }

  const request = <T>(call: TrainerCall, signal?: AbortSignal, onStep?: (report: StepReport) => void): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (state === 'closing' || state === 'failed') {
        reject(new StarlingError(state === 'failed' ? 'trainer-failed' : 'aborted', `the trainer is ${state}`))
        return
      }
      if (pending.size >= MAX_CALLS) {
        reject(
          new StarlingError('trainer-busy', `${MAX_CALLS} calls wait for the trainer already`, { method: call.method }),
        )
        return
      }
      const id = nextId++
      const onAbort = (): void => {
        const entry = pending.get(id)
        if (entry === undefined) return
        if (state === 'running') {
          entry.aborted = true
          post({ kind: 'abort', id })
        } else {
          pending.delete(id)
          end(entry)
        }
      }
      const settle = (): void => signal?.removeEventListener('abort', onAbort)
      pending.set(id, {
        call,
        attempts: 0,
        aborted: false,
        onStep,
        resolve: (value) => {
          settle()
          resolve(value as T)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      })
      if (state === 'running') post({ kind: 'call', id, call })
      signal?.addEventListener('abort', onAbort)
    })

  const guard = (signal: AbortSignal | undefined, what: string): void => {
    if (signal?.aborted === true) throw new StarlingError('aborted', `${what} was aborted`)
  }
  /** The same for what needs the whole model. */
  const guardWhole = (signal: AbortSignal | undefined, what: string): void => {
    guard(signal, what)
    if (cut === undefined) return
    throw new StarlingError('no-whole-model', `${what} needs the whole model; this peer holds stages of it`, { what })
  }

  /** Lets the thread end by itself, after the step or the load it is in; ends it when that takes too long. */
  const endThread = async (): Promise<void> => {
    const thread = worker
    if (thread === undefined) return
    const exited = new Promise<void>((resolve) => thread.once('exit', () => resolve()))
    thread.postMessage({ kind: 'close' } satisfies ToTrainer)
    const timer = setTimeout(() => void thread.terminate(), loading ? LOAD_TIMEOUT : CLOSE_TIMEOUT)
    await exited
    clearTimeout(timer)
  }

  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    const failedBefore = state === 'failed'
    state = 'closing'
    if (!failedBefore) await endThread()
    for (const entry of pending.values()) entry.reject(new StarlingError('aborted', 'the trainer was closed'))
    pending.clear()
  }

  const theta = vectors.float32('theta')
  guard(options.signal, 'starting the trainer')
  let ending: Promise<void> | undefined
  const onAbort = (): void => {
    ending = endThread()
  }
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await start(options.initialize)
  } catch (error) {
    guard(options.signal, 'starting the trainer')
    throw error
  } finally {
    options.signal?.removeEventListener('abort', onAbort)
    await ending
  }
  guard(options.signal, 'starting the trainer')
  state = 'running'

  return {
    ...(cut === undefined ? {} : { stages: createStages({ cut, training }, request) }),
    size: theta.length,
    get engine() {
      return engine as TrainerEngine
    },
    failed,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
    step: () => Atomics.load(control, CONTROL.step),
    setStep: (step) => request<void>({ method: 'setStep', step }),
    async initial(vector, signal) {
      guardWhole(signal, 'initial')
      return request<void>({ method: 'initial', vector }, signal)
    },
    async train(count, { signal, onStep } = {}) {
      if (signal?.aborted === true) return
      guardWhole(signal, 'train')
      // The target and not the count travels: a new thread then knows what is left.
      await request<void>({ method: 'train', target: Atomics.load(control, CONTROL.step) + count }, signal, onStep)
    },
    async evaluate({ signal, vector } = {}) {
      guardWhole(signal, 'evaluate')
      return request<EvaluationSummary>({ method: 'evaluate', ...(vector === undefined ? {} : { vector }) }, signal)
    },
    async lossAt(vector, batch, signal) {
      guardWhole(signal, 'lossAt')
      return request<number>({ method: 'lossAt', vector, batch }, signal)
    },
    async gradient(batch, signal) {
      guardWhole(signal, 'gradient')
      return request<number>({ method: 'gradient', batch }, signal)
    },
    async compute<A, R>(task: ComputeTask<A, R>, args: A, signal?: AbortSignal) {
      guard(signal, task.name)
      return request<R>({ method: 'compute', task: task.name, args }, signal)
    },
    async generate(generateOptions, signal) {
      guardWhole(signal, 'generate')
      return request<string>({ method: 'generate', options: generateOptions }, signal)
    },
    async snapshot(names, into, signal) {
      guard(signal, 'snapshot')
      return request<number>({ method: 'snapshot', names, into }, signal)
    },
    tensors: () => request<number>({ method: 'tensors' }),
    close() {
      closed ??= close()
      return closed
    },
  }
}
