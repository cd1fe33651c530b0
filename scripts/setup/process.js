/** Child processes of the set-up: quiet, limited in time, stopped with their parent, and with a sign of life when they take long. */
import { spawn } from 'node:child_process'

/** Milliseconds between two signs of life, so that a person on a slow line sees that something goes on. */
const SIGN_OF_LIFE = 10_000

/** Characters of output kept for the reason of a failure. */
const KEPT_OUTPUT = 20_000

/** One line of the set-up. */
export function say(text) {
  console.log(`setup: ${text}`)
}

/**
 * Runs a program and keeps the end of its output.
 * @param {string} program
 * @param {string[]} parameters
 * @param {{ label?: string, limit: number, cwd?: string, env?: NodeJS.ProcessEnv }} options label: shown with the seconds while
 *   it runs; limit: milliseconds until it is killed
 * @returns {Promise<{ code: number, output: string, stdout: string }>} code 127 when it could not be started, 124 when out of time
 */
export function capture(program, parameters, { label, limit, cwd, env }) {
  return new Promise((resolve) => {
    const begun = performance.now()
    // A group of its own, so that what the program starts ends with it.
    const child = spawn(program, parameters, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let output = ''
    let stdout = ''
    let late = false
    const keep = (/** @type {string} */ text) => {
      output = (output + text).slice(-KEPT_OUTPUT)
    }
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout = (stdout + text).slice(-KEPT_OUTPUT)
      keep(text)
    })
    child.stderr.setEncoding('utf8').on('data', keep)
    const stop = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        child.kill('SIGKILL') // The group is gone already, or this system has no groups.
      }
    }
    const end = () => {
      stop()
      process.exit(130)
    }
    process.on('SIGINT', end).on('SIGTERM', end)
    const signs = setInterval(() => {
      if (label !== undefined) say(`${label} (${Math.round((performance.now() - begun) / 1000)} s)`)
    }, SIGN_OF_LIFE)
    const limiter = setTimeout(() => {
      late = true
      stop()
    }, limit)
    const finish = (/** @type {number} */ code) => {
      clearInterval(signs)
      clearTimeout(limiter)
      process.off('SIGINT', end).off('SIGTERM', end)
      resolve({ code: late ? 124 : code, output, stdout })
    }
    child.once('error', (error) => {
      keep(error.message)
      finish(127)
    })
    child.once('close', (code, signal) => {
      if (signal !== null) keep(`\nended by ${signal}`)
      finish(code ?? 1)
    })
  })
}

/** What tells most in a failed program's output, best first. */
const telling = [
  /\b((?:Name or service|Connection (?:refused|reset|timed)|Network is|No route|No space|Read timed|certificate verify)[\w .]*)/i,
  /\b((?:getaddrinfo|connect|read|write) E[A-Z_]+[^\n]*)/,
  /\b(?:fatal )?error: ([^\n]+)/i,
]

/** The reason of a failure, as far as the output of the program tells it. */
export function reason(output) {
  for (const pattern of telling) {
    const found = pattern.exec(output)?.[1]
    if (found !== undefined) return found.trim().slice(0, 300)
  }
  return output.trim().split('\n').at(-1)?.trim().slice(0, 300) || 'it said nothing'
}
