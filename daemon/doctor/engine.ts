/** Asks a child process which engine loads here and how fast it is. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EngineFact } from './types.ts'

/** Milliseconds: loading the library from a slow disk and ten products on plain JavaScript. */
const SPEED_TIMEOUT = 120_000

/** Bytes of output that are read: one line of JSON, with room for a library's chatter. */
const MOST_OUTPUT = 1 << 20

/**
 * @param prefer measure this engine; without it the best one
 * @throws the signal's reason when it aborts; what is wrong with the engine is part of the answer
 */
export function askEngine(prefer: string | undefined, signal: AbortSignal): Promise<EngineFact | { error: string }> {
  const script = fileURLToPath(new URL('speed.js', import.meta.url))
  const options = { signal, timeout: SPEED_TIMEOUT, killSignal: 'SIGKILL', maxBuffer: MOST_OUTPUT } as const
  return new Promise((resolve, reject) => {
    const parameters = prefer === undefined ? [script] : [script, prefer]
    execFile(process.execPath, parameters, options, (error, stdout, stderr) => {
      if (signal.aborted) return reject(signal.reason)
      if (error !== null) {
        const line = stderr.split('\n').find((text) => /error/i.test(text)) ?? error.message
        return resolve({ error: error.killed ? 'the measurement ran out of time' : line.trim().slice(0, 300) })
      }
      try {
        resolve(JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as EngineFact)
      } catch {
        resolve({ error: `the measurement said ${stdout.trim().slice(-200) || 'nothing'}` })
      }
    })
  })
}
