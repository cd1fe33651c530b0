/** The trainer thread: one model, one engine, one loop that takes optimizer steps and does everything else between two of them. */
import '../shims.ts'
import { platform, setPriority } from 'node:os'
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import {
  createTrainer,
  initialize,
  layoutOf,
  loadWeights,
  openEngine,
  StageTrainer,
  type Trainer,
} from '../../models/index.ts'
import { type ComputeContext, type ComputeTask, StarlingError } from '../../protocols/index.ts'
import { openSource } from '../run/index.ts'
import {
  CONTROL,
  type FromTrainer,
  type StageCall,
  type ToTrainer,
  type TrainerCall,
  type TrainerData,
} from './messages.ts'
import { answerStageCall } from './stages.ts'

if (parentPort === null) throw new StarlingError('not-a-worker', 'the trainer runs in a worker thread')
const port = parentPort
const { setup, control: buffer, initialize: fresh, step } = workerData as TrainerData
const control = new Int32Array(buffer)
const say = (message: FromTrainer): void => port.postMessage(message)

type Call = Extract<ToTrainer, { kind: 'call' }>
/** Calls not yet begun; the network thread posts at most MAX_CALLS. */
const waiting: Call[] = []
const aborted = new Set<number>() // ids of calls that are waiting or running
let closing = false
let wake: () => void = () => {}

port.on('message', (message: ToTrainer) => {
  if (message.kind === 'call') waiting.push(message)
  else if (message.kind === 'close') closing = true
  else if (training?.id === message.id || waiting.some(({ id }) => id === message.id)) aborted.add(message.id)
  wake()
})

/** Code, message and data of anything thrown: errors of `models/`, `kernels/` and `protocols/` carry the same three. */
function faultOf(error: unknown): { code: string; message: string; data: Record<string, unknown> } {
  if (!(error instanceof Error)) return { code: 'trainer-error', message: String(error), data: {} }
  const { code, data } = error as Error & { code?: unknown; data?: unknown }
  const known = typeof code === 'string' && typeof data === 'object' && data !== null
  return {
    code: known ? code : 'trainer-error',
    message: error.message,
    data: known ? (data as Record<string, unknown>) : {},
  }
}

/** The `train` call in progress. */
let training: { id: number; target: number } | undefined

/** Niceness of this thread and of TensorFlow's, which inherit it. */
const NICENESS = 5

/**
 * Lets the network thread, a few milliseconds of work now and then, go before the trainer, which takes every core it gets: without it, a peer on a busy
 * machine answers late. Linux only, where a priority belongs to a thread; elsewhere it belongs to the process.
 */
function yieldToNetwork(): void {
  if (platform() !== 'linux') return
  try {
    setPriority(0, NICENESS)
  } catch {
    // Not allowed in some containers; then both threads are equal, as on other systems.
  }
}

async function open() {
  yieldToNetwork()
  const tasks = new Map<string, ComputeTask<never, unknown>>() // as many as the task modules export
  for (const url of setup.taskModules) {
    const module = (await import(url)) as { tasks: readonly ComputeTask<never, unknown>[] }
    for (const task of module.tasks) tasks.set(task.name, task)
  }
  const vectors = SharedVectors.attach(setup.vectors)
  const kernels = loadKernels(vectors)
  const engine = await openEngine({
    threads: setup.threads,
    ...(setup.engine === undefined ? {} : { prefer: setup.engine }),
  })
  // A thread that ends with the native library loaded but never used takes the process down with it when that exits (tfjs-node 4.22).
  engine.tf.tidy(() => void engine.tf.add(1, 1).dataSync())
  const layout = layoutOf(setup.model)
  const initial = async (name: string): Promise<void> => {
    const { weights } = setup
    if (weights === undefined) initialize(layout, setup.model, setup.seed, vectors.float32(name))
    else await loadWeights(weights.path, layout, vectors.float32(name), { name: weights.name })
  }
  const { cut, model, trains, seed, validationRows } = setup
  // A pipeline fills its places itself, once it knows which stages they are to hold.
  if (fresh && cut === undefined) await initial('theta')
  const dataset = await openSource(setup.data)
  const common = { engine, kernels, vectors, model, training: setup.training, seed, dataset }
  const trainer = cut === undefined ? createTrainer({ ...common, trains }) : undefined
  if (trainer !== undefined) trainer.stepNumber = step
  const stages =
    cut === undefined
      ? undefined
      : new StageTrainer({
          ...common,
          cut,
          held: control.subarray(CONTROL.held),
          ...(validationRows === undefined ? {} : { validationRows }),
        })
  const context: ComputeContext = {
    kernels,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  return { engine, trainer, stages, tasks, context, vectors, initial }
}

type Opened = Awaited<ReturnType<typeof open>>

/** The trainer of the whole model. @throws StarlingError 'no-whole-model' at a peer of a pipeline */
function whole({ trainer }: Opened): Trainer {
  if (trainer !== undefined) return trainer
  throw new StarlingError('no-whole-model', 'this peer holds stages of the model and not the whole')
}

const isStageCall = (call: TrainerCall): call is StageCall => call.method.startsWith('stage ')

/** Does one call for the stages that this peer holds; resolves to its answer. */
async function answerStage(call: StageCall, { stages }: Opened): Promise<unknown> {
  if (stages === undefined) throw new StarlingError('no-stages', 'this peer holds the whole model and no stages of it')
  const { weights, model } = setup
  const result = answerStageCall(call, stages)
  if (call.method === 'stage initial' && weights !== undefined) {
    const { layout, theta } = stages.parameters(call.arguments[1])
    await loadWeights(weights.path, layout, theta, { name: weights.name, whole: layoutOf(model) })
  }
  return result
}

/** Does one call other than `train`; resolves to its answer. */
function answer(call: Exclude<TrainerCall, { method: 'train' }>, opened: Opened): unknown {
  if (isStageCall(call)) return answerStage(call, opened)
  const { engine, trainer, tasks, context, vectors, initial } = opened
  switch (call.method) {
    case 'evaluate':
      return whole(opened).evaluate(call.vector, setup.validationRows)
    case 'lossAt':
      return whole(opened).lossAt(call.vector, call.batch)
    case 'gradient':
      return whole(opened).gradient(call.batch)
    case 'generate':
      return whole(opened).generate(call.options)
    case 'setStep':
      if (trainer !== undefined) trainer.stepNumber = call.step
      control[CONTROL.step] = call.step
      return undefined
    case 'initial':
      whole(opened)
      return initial(call.vector)
    case 'tensors':
      return engine.tf.memory().numTensors
    case 'snapshot': {
      const target = new Uint8Array(call.into)
      let offset = 0
      for (const name of call.names) {
        const source = vectors.bytes(name)
        target.set(source, offset)
        offset += source.length
      }
      return control[CONTROL.step]
    }
    case 'compute': {
      const task = tasks.get(call.task)
      if (task === undefined)
        throw new StarlingError('task-unknown', `no compute task is named '${call.task}'`, { task: call.task })
      return task.run(context, call.args as never)
    }
  }
}

/** Runs `work` under the id of its call, so that whoever finds this thread dead knows what it was doing. */
async function attempt(id: number, work: () => FromTrainer | Promise<FromTrainer>): Promise<boolean> {
  Atomics.store(control, CONTROL.job, id)
  let reply: FromTrainer
  let succeeded = true
  try {
    reply = await work()
  } catch (error) {
    reply = { kind: 'failed', id, ...faultOf(error) }
    succeeded = false
  }
  Atomics.store(control, CONTROL.job, 0)
  say(reply)
  return succeeded
}

async function begin(call: Call, opened: Opened): Promise<void> {
  const { id, call: what } = call
  if (aborted.delete(id)) {
    // A stopped training is not a failure: it took all the steps it was allowed to.
    say(
      what.method === 'train'
        ? { kind: 'done', id, value: undefined }
        : { kind: 'failed', id, code: 'aborted', message: 'aborted', data: {} },
    )
  } else if (what.method === 'train') {
    training = { id, target: what.target }
  } else {
    await attempt(id, async () => ({ kind: 'done', id, value: await answer(what, opened) }))
  }
}

async function advance(opened: Opened): Promise<void> {
  const { id, target } = training as { id: number; target: number }
  if (aborted.delete(id) || Atomics.load(control, CONTROL.step) >= target) {
    training = undefined
    say({ kind: 'done', id, value: undefined })
    return
  }
  const succeeded = await attempt(id, () => {
    const trainer = whole(opened)
    const report = trainer.step()
    Atomics.store(control, CONTROL.step, trainer.stepNumber)
    return { kind: 'step', id, report }
  })
  if (succeeded) return
  training = undefined
  aborted.delete(id)
}

async function serve(opened: Opened): Promise<void> {
  while (!closing) {
    const call = waiting.shift()
    if (call !== undefined) await begin(call, opened)
    else if (training !== undefined) await advance(opened)
    else {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      continue
    }
    // Lets messages in: whatever has come during a step is done before the next one.
    await turn()
  }
  opened.trainer?.dispose()
  opened.stages?.dispose()
  port.close()
}

let opened: Opened
try {
  opened = await open()
  // Lets a word that came meanwhile in: nobody waits for a trainer that is to close.
  await turn()
  if (!closing) say({ kind: 'ready', engine: { name: opened.engine.name, why: opened.engine.why } })
} catch (error) {
  say({ kind: 'start-failed', ...faultOf(error) })
  port.close()
  throw error
}
await serve(opened)
