/** Worker processes that share a list of jobs. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url))

/** Has a worker do one task; resolves with { result, seconds }. Rejects with the task's error, when the worker ends, and when the signal is aborted. */
function perform(worker, task, { signal, log }) {
  return new Promise((resolve, reject) => {
    const settle = (done, value) => {
      worker.off('message', onMessage).off('exit', onExit)
      signal.removeEventListener('abort', onAbort)
      done(value)
    }
    const onMessage = ({ log: line, error, ...outcome }) => {
      if (line !== undefined) log(task, line)
      else if (error !== undefined) settle(reject, new Error(`${task.name} ${JSON.stringify(task.job)}: ${error}`))
      else settle(resolve, outcome)
    }
    const onExit = (code, by) => settle(reject, new Error(`a worker ended with ${by ?? `code ${code}`}`))
    const onAbort = () => settle(reject, signal.reason)
    signal.throwIfAborted()
    worker.on('message', onMessage).on('exit', onExit)
    signal.addEventListener('abort', onAbort)
    worker.send(task)
  })
}

/**
 * Takes the tasks { name, job } in order, `cores` at a time, each in a worker process that takes the next one when it is done, and calls `done(task, { result, seconds })`
 * for each, seconds being those of the processor. Rejects with the first error; whatever happens, the processes are ended before it settles.
 */
export async function runTasks(tasks, { cores, signal, log, done }) {
  const waiting = [...tasks]
  const workers = []
  const failed = new AbortController()
  const stop = AbortSignal.any([signal, failed.signal])

  async function work() {
    // What TensorFlow says of its build says nothing about a result.
    const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' }
    const worker = fork(WORKER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env })
    workers.push(worker)
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      done(task, await perform(worker, task, { signal: stop, log }))
    }
  }

  try {
    await Promise.all(Array.from({ length: Math.min(cores, waiting.length) }, work))
  } finally {
    failed.abort()
    await Promise.all(
      workers.map((worker) => {
        if (worker.exitCode !== null || worker.signalCode !== null) return undefined
        const exit = once(worker, 'exit')
        worker.kill()
        return exit
      }),
    )
  }
}
