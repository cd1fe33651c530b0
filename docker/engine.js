/** What chaos.js and slow.js need of the container engine: its HTTP API, version 1.41 and later, over its socket. */
import { request } from 'node:http'
import { hostname } from 'node:os'

const SOCKET = process.env.DOCKER_SOCKET ?? '/var/run/docker.sock'

/** Milliseconds for an answer; stopping a container is not asked for here, so all are quick. */
const TIMEOUT = 30_000

/** Bytes of an answer; lists of containers are some kilobytes each. */
const MAX_ANSWER = 16 * 2 ** 20

/**
 * Asks the engine.
 * @param {string} method
 * @param {string} path with its query
 * @param {object} [body]
 * @returns {Promise<any>} the parsed answer, or its text where it is no JSON
 * @throws {Error} with `status` when the engine refuses
 */
export function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const asked = request(
      { socketPath: SOCKET, method, path: `/v1.41${path}`, headers, timeout: TIMEOUT },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (part) => {
          text += part
          if (text.length > MAX_ANSWER) asked.destroy(new Error(`the answer to ${path} is too long`))
        })
        answer.on('end', () => {
          const json = answer.headers['content-type']?.startsWith('application/json') && text !== ''
          const value = json ? JSON.parse(text) : text
          if (answer.statusCode < 400) resolve(value)
          else reject(Object.assign(new Error(value.message ?? text), { status: answer.statusCode }))
        })
      },
    )
    asked.once('error', (error) => {
      const mend =
        error.code === 'EACCES' || error.code === 'ENOENT' ? `; is ${SOCKET} mounted, and may this user write it?` : ''
      reject(Object.assign(new Error(`the engine does not answer: ${error.message}${mend}`), { code: error.code }))
    })
    asked.once('timeout', () => asked.destroy(new Error(`no answer to ${path} within ${TIMEOUT / 1_000} s`)))
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** This very container, as the engine describes it. */
export function self() {
  return ask('GET', `/containers/${hostname()}/json`)
}

/**
 * The running containers of a service in the project that this container belongs to.
 * @param {string} service
 * @returns {Promise<{ id: string, name: string, startedAt: string }[]>}
 */
export async function replicas(service) {
  const project = (await self()).Config.Labels['com.docker.compose.project']
  const label = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`]
  const filters = encodeURIComponent(JSON.stringify({ label, status: ['running'] }))
  const found = []
  for (const { Id: id } of await ask('GET', `/containers/json?filters=${filters}`)) {
    try {
      const { Name, State } = await ask('GET', `/containers/${id}/json`)
      found.push({ id, name: Name.slice(1), startedAt: State.StartedAt })
    } catch (error) {
      if (error.status !== 404) throw error // removed since the list was made
    }
  }
  return found
}

/** Aborts when this container is told to stop. */
export function untilStopped() {
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stop.abort())
  return stop.signal
}
