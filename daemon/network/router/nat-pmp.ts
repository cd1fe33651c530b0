/**
 * NAT-PMP (RFC 6886): a router is asked for its public address and for ports in datagrams of a few bytes.
 *
 * Deviation: a question is sent five times within eight seconds and not nine times within two minutes; a router in the same network that is silent so long
 * does not speak the protocol.
 */
import { createSocket, type Socket } from 'node:dgram'
import { StarlingError } from '../../../protocols/index.ts'
import type { Router } from './types.ts'

/** Where a router listens. */
export const NAT_PMP_PORT = 5351
/** Wait for an answer before the question is sent again, milliseconds, doubled each time (section 3.1); and how often it is sent. */
const FIRST_WAIT = 250
const SENDINGS = 5

/** Sections 3.2 and 3.3. */
const OP_EXTERNAL_ADDRESS = 0
const OP_MAP_TCP = 2
const ANSWER = 128
/** Section 3.5. */
const RESULTS = [
  'success',
  'another version of NAT-PMP is spoken',
  'forwarding is switched off',
  'it has no address itself',
  'it has no ports left',
  'it cannot do that',
]

/** Speaks NAT-PMP with what is thought to be the router. Rejects with 'router-silent' where no datagram can be sent. */
export async function natPmpRouter(host: string, port = NAT_PMP_PORT): Promise<Router> {
  const socket = createSocket('udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      // Only what comes from the router is received then, and that nobody listens there is told.
      socket.connect(port, host, () => resolve())
    })
  } catch (error) {
    socket.close()
    throw silent(host, error)
  }
  const { address } = socket.address()
  // Each question has its own listener; an error between two questions is told by the next.
  socket.on('error', () => {})
  let last: Promise<unknown> = Promise.resolve()
  /** One question at a time: an answer does not say to which it belongs. */
  const ask = (question: Buffer, signal: AbortSignal): Promise<Buffer> => {
    const next = last.then(() => once(socket, host, question, signal))
    last = next.catch(() => {})
    return next
  }
  const map = async (inside: number, outside: number, seconds: number, signal: AbortSignal): Promise<number> => {
    const question = Buffer.alloc(12)
    question[1] = OP_MAP_TCP
    question.writeUInt16BE(inside, 4)
    question.writeUInt16BE(outside, 6)
    question.writeUInt32BE(seconds, 8)
    const answer = await ask(question, signal)
    if (answer.length < 16 || answer.readUInt16BE(8) !== inside) throw refused(host, 'it answers something else')
    return answer.readUInt16BE(10)
  }
  return {
    protocol: 'NAT-PMP',
    host,
    localHost: address,
    async externalHost(signal) {
      const answer = await ask(Buffer.from([0, OP_EXTERNAL_ADDRESS]), signal)
      if (answer.length < 12) throw refused(host, 'it answers something else')
      return [...answer.subarray(8, 12)].join('.')
    },
    map,
    // A life of no seconds ends it (section 3.4), and the port outside must be 0.
    unmap: async (inside, _outside, signal) => void (await map(inside, 0, 0, signal)),
    close: () => socket.close(),
  }
}

/** Sends a question until it is answered. */
async function once(socket: Socket, host: string, question: Buffer, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  let end = (): void => {}
  try {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const onMessage = (message: Buffer): void => {
        if (message.length >= 4 && message[0] === 0 && message[1] === ANSWER + (question[1] as number)) resolve(message)
      }
      const onError = (error: Error): void => reject(silent(host, error))
      const onAbort = (): void => reject(signal.reason)
      socket.on('message', onMessage).on('error', onError)
      signal.addEventListener('abort', onAbort, { once: true })
      end = () => {
        socket.off('message', onMessage).off('error', onError)
        signal.removeEventListener('abort', onAbort)
      }
      const send = (sent: number): void => {
        if (sent === SENDINGS) {
          reject(silent(host))
          return
        }
        socket.send(question)
        timer = setTimeout(() => send(sent + 1), FIRST_WAIT * 2 ** sent)
      }
      send(0)
    })
    const result = answer.readUInt16BE(2)
    if (result !== 0) throw refused(host, RESULTS[result] ?? `result ${result}`)
    return answer
  } finally {
    clearTimeout(timer)
    end()
  }
}

const silent = (host: string, cause?: unknown): StarlingError =>
  new StarlingError('router-silent', `${host} does not answer NAT-PMP`, { router: host }, { cause })

const refused = (host: string, why: string): StarlingError =>
  new StarlingError('router-refused', `the router at ${host} refuses (NAT-PMP): ${why}`, { router: host })
