/**
 * What a bootstrap node tells over HTTP. Whoever reaches the port may read GET /health and GET /metrics, which name nobody; GET /api/status and POST
 * /api/stop are for the owner of the machine, or for who has the token where it listens for others.
 */
import { randomBytes } from 'node:crypto'
import { type FastifyError, fastify } from 'fastify'
import type { Registry } from 'prom-client'
import { StarlingError } from '../../protocols/index.ts'
import { guard, isLoopback, listen, removeEndpoint, writeEndpoint } from '../api/index.ts'
import type { Log } from '../log/index.ts'
import type { BootstrapLoad } from '../network/index.ts'

/** No request has a body. */
const BODY_LIMIT = 1_024

/** Longest wait for a request, and for an idle connection to close itself, milliseconds. */
const REQUEST_TIMEOUT = 10_000
const KEEP_ALIVE = 5_000

/** Requests served at once: a health check, a Prometheus or two, somebody who looks. */
const MAX_CONNECTIONS = 64

/** HTTP status of each error code; whatever is not named is 500. */
const STATUS: Record<string, number> = {
  'token-missing': 401,
  'host-refused': 403,
  'origin-refused': 403,
  'no-run': 404,
  'not-ready': 503,
  stopping: 503,
}

/** GET /api/status of a bootstrap node. */
export interface BootstrapReport extends BootstrapLoad {
  /** Tells it from the status of a node, which has none. */
  role: 'bootstrap'
  peer: string
  version: string
  /** Multiaddrs to give to others. */
  addresses: string[]
  /** Protocol of the DHT that it serves. */
  dhtProtocol?: string
  pid: number
  uptimeSeconds: number
  /** Bytes. */
  memory: { rss: number }
  dataFolder: string
}

/** What is served. `report` throws 'not-ready' while the node starts, and 'stopping'. */
export interface BootstrapSource {
  metrics: Registry
  report(): BootstrapReport
  /** Somebody asked over HTTP for the end. */
  stop(): void
  log: Log
}

export interface BootstrapServer {
  /** Where it listens, e.g. http://127.0.0.1:7401/ */
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves on that address, port 0 picks a free one, and says in the data folder (api.json) where. Throws 'port-in-use', 'port-refused',
 * 'address-unavailable'.
 */
export async function serveBootstrap(
  at: { host: string; port: number; dataFolder: string },
  { metrics, report, stop, log }: BootstrapSource,
): Promise<BootstrapServer> {
  const server = fastify({
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    logger: false,
  })
  server.server.maxConnections = MAX_CONNECTIONS
  const loopback = isLoopback(at.host)
  const secrets = loopback ? {} : { token: randomBytes(24).toString('base64url') }
  const onRequest = guard({ loopback, ...secrets })
  server.setErrorHandler((error: FastifyError | StarlingError, request, reply) => {
    if (error instanceof StarlingError)
      return reply.code(STATUS[error.code] ?? 500).send({ error: { code: error.code, message: error.message } })
    const status = error.statusCode ?? 500
    if (status < 500) return reply.code(status).send({ error: { code: 'request-invalid', message: error.message } })
    log.error('a request failed', { url: request.url }, error)
    return reply.code(500).send({ error: { code: 'internal', message: 'The node could not answer; its log says why' } })
  })
  server.setNotFoundHandler(() => {
    throw new StarlingError('no-run', 'This is a bootstrap node, in no run itself; it has a status and can be stopped')
  })
  server.get('/health', async () => {
    report()
    return { ok: true }
  })
  server.get('/metrics', async (_request, reply) => {
    reply.type(metrics.contentType)
    return metrics.metrics()
  })
  server.get('/api/status', { onRequest }, async () => report())
  server.post('/api/stop', { onRequest }, async (_request, reply) => {
    await reply.code(202).send({ stopping: true })
    // After the answer is on its way: stopping closes this very server.
    setImmediate(stop)
  })
  const url = await listen(server, at)
  writeEndpoint(at.dataFolder, { url, ...secrets, pid: process.pid, startedAt: Date.now() })
  return {
    url,
    close: async () => {
      removeEndpoint(at.dataFolder)
      await server.close()
    },
  }
}
