/** What a bootstrap node tells over HTTP: that it is well, its addresses and its metrics. Nothing here can be changed or is secret. */
import { type FastifyInstance, fastify } from 'fastify'
import type { Registry } from 'prom-client'
import { StarlingError } from '../../protocols/index.ts'

/** No request has a body. */
const BODY_LIMIT = 1_024

/** Longest wait for a request, and for an idle connection to close itself, milliseconds. */
const REQUEST_TIMEOUT = 10_000
const KEEP_ALIVE = 5_000

/** Requests served at once: a health check, a Prometheus or two, somebody who looks. */
const MAX_CONNECTIONS = 64

export interface BootstrapServer {
  /** Where it listens, e.g. http://127.0.0.1:7401/ */
  readonly url: string
  close(): Promise<void>
}

/** Serves GET /health, /metrics and / on that address; port 0 picks a free one. Throws 'port-in-use', 'address-unavailable'. */
export async function serveBootstrap(
  at: { host: string; port: number },
  { metrics, state }: { metrics: Registry; state(): Record<string, unknown> },
): Promise<BootstrapServer> {
  const server = fastify({
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    logger: false,
  })
  server.server.maxConnections = MAX_CONNECTIONS
  server.get('/', async () => state())
  server.get('/health', async () => ({ ok: true }))
  server.get('/metrics', async (_request, reply) => {
    reply.type(metrics.contentType)
    return metrics.metrics()
  })
  return { url: await listen(server, at), close: () => server.close() }
}

async function listen(server: FastifyInstance, at: { host: string; port: number }): Promise<string> {
  try {
    await server.listen(at)
  } catch (error) {
    await server.close()
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'EADDRINUSE')
      throw new StarlingError('port-in-use', `port ${at.port} of ${at.host} is taken; choose another --api-port`, at)
    const message = `cannot listen on ${at.host} port ${at.port}: ${(error as Error).message}`
    throw new StarlingError('address-unavailable', message, at, { cause: error })
  }
  const address = server.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : at.port
  const host = at.host.includes(':') ? `[${at.host}]` : at.host
  return `http://${host}:${port}/`
}
