/** How the commands talk to a running node. */
import { request as httpRequest } from 'node:http'
import { StarlingError } from '../../protocols/index.ts'
import type { NodeEvent } from '../types.ts'
import type { Endpoint } from './endpoint.ts'

/** Longest wait for an answer, milliseconds: writing a text takes a while on a busy machine. */
const ANSWER_TIMEOUT = 60_000

/** Largest answer taken, bytes: 5,000 events with texts. */
const MAX_ANSWER = 32 * 1024 * 1024

type Place = Pick<Endpoint, 'url' | 'token'>

const headersOf = (place: Place): Record<string, string> =>
  place.token === undefined ? {} : { authorization: `Bearer ${place.token}` }

/**
 * One request, answered as JSON. Throws StarlingError 'node-not-running' (nobody listens), 'ask-timeout', 'api-mismatch' (an answer that is not
 * ours), or the node's own code.
 */
export async function callApi<T>(place: Place, method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
  const answer = await request(place, method, path, body)
  const parsed = parseJson(answer.text, place)
  if (answer.status < 400) return parsed as T
  throw refusal(parsed, answer.status, place)
}

/** The Prometheus text of a node. Throws like {@link callApi}. */
export async function readMetrics(place: Place): Promise<string> {
  const answer = await request(place, 'GET', 'metrics')
  if (answer.status < 400) return answer.text
  throw refusal(parseJson(answer.text, place), answer.status, place)
}

/** The node's own error. */
function refusal(parsed: unknown, status: number, place: Place): StarlingError {
  const { error } = parsed as { error?: { code?: unknown; message?: unknown } }
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') return mismatch(place)
  return new StarlingError(error.code, error.message, { status })
}

function request(
  place: Place,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<{ status: number; text: string }> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const headers = { ...headersOf(place), ...(text === undefined ? {} : { 'content-type': 'application/json' }) }
  return new Promise((resolve, reject) => {
    const asked = httpRequest(
      new URL(path, place.url),
      { method, headers, signal: AbortSignal.timeout(ANSWER_TIMEOUT) },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MAX_ANSWER) asked.destroy(new StarlingError('api-mismatch', `${place.url} answered with too much`))
          else chunks.push(chunk)
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        )
      },
    )
    asked.on('error', (error) => reject(unreachable(error, place)))
    asked.end(text)
  })
}

function parseJson(text: string, place: Place): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw mismatch(place)
  }
}

const mismatch = (place: Place): StarlingError =>
  new StarlingError('api-mismatch', `What answers at ${place.url} is not a Starling node`, { url: place.url })

function unreachable(error: Error, place: Place): Error {
  if (error instanceof StarlingError) return error
  if (error.name === 'TimeoutError' || error.name === 'AbortError') {
    return new StarlingError(
      'ask-timeout',
      `The node at ${place.url} did not answer within ${ANSWER_TIMEOUT / 1000} s`,
      { url: place.url },
    )
  }
  return new StarlingError('node-not-running', `No node answers at ${place.url}`, { url: place.url }, { cause: error })
}

/** The events above `after` that the node still keeps. */
export function readEvents(place: Place, after = 0): Promise<NodeEvent[]> {
  return callApi(place, 'GET', `api/events?after=${after}`)
}

/** Follows the event stream until the signal aborts (resolves) or the node goes away (resolves too). Throws like {@link callApi}. */
export async function followEvents(
  place: Place,
  after: number,
  onEvent: (event: NodeEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const headers = { ...headersOf(place), 'last-event-id': String(after) }
    const asked = httpRequest(new URL('api/events/stream', place.url), { headers, signal }, (response) => {
      if (response.statusCode !== 200) {
        response.resume()
        reject(
          new StarlingError(
            'api-mismatch',
            `The node at ${place.url} refused the event stream (${response.statusCode})`,
          ),
        )
        return
      }
      let rest = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        const blocks = (rest + chunk).split('\n\n')
        rest = (blocks.pop() ?? '').slice(0, MAX_ANSWER)
        for (const block of blocks) {
          const lines = block.split('\n')
          const data = lines.find((line) => line.startsWith('data: '))
          // Snapshots and markers carry an event name; the events themselves do not.
          if (data === undefined || lines.some((line) => line.startsWith('event: '))) continue
          onEvent(JSON.parse(data.slice('data: '.length)) as NodeEvent)
        }
      })
      response.on('end', resolve)
      response.on('error', () => resolve())
    })
    asked.on('error', (error) => (signal.aborted ? resolve() : reject(unreachable(error, place))))
    asked.end()
  })
}
