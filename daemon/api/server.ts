/** The local HTTP API of a node, and its page. */
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import { type FastifyError, type FastifyInstance, type FastifyReply, fastify } from 'fastify'
import { z } from 'zod'
import { StarlingError } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { RunningNode } from '../types.ts'
import { removeEndpoint, writeEndpoint } from './endpoint.ts'
import { guard, HEALTH, isLoopback } from './guard.ts'
import { listen } from './listen.ts'
import { createStreamHub, MAX_STREAMS } from './stream.ts'

/** Largest request body: a prompt and four numbers. */
const BODY_LIMIT = 64 * 1024

/** Longest wait for an idle connection to close itself, milliseconds. */
const KEEP_ALIVE = 5_000

/** Texts written at the same time; a second one waits for nobody, it is refused. */
const MAX_GENERATIONS = 1

/** Where the compiled page lies, beside this file's folder, and the modules that it shares with the daemon. */
const PAGE = fileURLToPath(new URL('../page/', import.meta.url))
const VIEW = fileURLToPath(new URL('../view/', import.meta.url))

/** What the API needs of a node. */
export type ApiNode = Pick<
  RunningNode,
  'status' | 'peers' | 'events' | 'explain' | 'onEvent' | 'metrics' | 'generate' | 'stop'
>

export interface ApiOptions {
  /** Address to listen on. Any but loopback needs a token; one is made up if none is given. */
  host: string
  /** 0 picks a free port. */
  port: number
  token?: string
  /** Data folder that tells the commands where this API is (api.json); left out, nothing is written. */
  dataFolder?: string
}

export interface ApiServer {
  /** Address of the page, e.g. http://127.0.0.1:4173/; with its token where one is needed. */
  readonly page: string
  /** The same without the token. */
  readonly url: string
  readonly token?: string
  /** Refuses new requests, ends event streams, closes the port. */
  close(): Promise<void>
}

/** HTTP status of each error code; whatever is not named is 500. */
const STATUS: Record<string, number> = {
  'request-invalid': 400,
  'prompt-invalid': 400,
  'token-missing': 401,
  'host-refused': 403,
  'origin-refused': 403,
  'not-found': 404,
  'not-a-text-model': 409,
  'not-ready': 409,
  'not-a-data-peer': 409,
  'generation-busy': 429,
  'streams-busy': 429,
  stopping: 503,
}

const generateBody = z.strictObject({
  prompt: z.string().max(4_000).default(''),
  tokens: z.number().int().min(1).max(2_000).default(200),
  temperature: z.number().min(0).max(10).default(0.8),
  topK: z.number().int().min(0).max(100_000).default(40),
  seed: z.number().int().min(0).max(0xffffffff).default(0),
})

const eventsQuery = z.object({ after: z.coerce.number().int().min(0).default(0) })
const streamQuery = z.object({
  after: z
    .string()
    .regex(/^[0-9a-z]{0,20}-?\d{1,15}$/)
    .optional(),
})

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new StarlingError('request-invalid', `${issue?.path.join('.') || 'request'}: ${issue?.message ?? 'invalid'}`)
}

/**
 * Serves the API and the page of `node`. Throws StarlingError 'port-in-use', 'port-refused', 'address-unavailable'.
 *
 * The requests: GET /api/health (never asks for the token; 503 while the node stops), /api/status, /api/peers, /api/explain, /api/events?after=N, /api/events/stream (SSE), POST /api/stop, /api/generate, GET
 * /metrics, GET / for the page.
 */
export async function serveApi(options: ApiOptions, modules: { node: ApiNode; log: Log }): Promise<ApiServer> {
  const { node, log } = modules
  const loopback = isLoopback(options.host)
  const token = options.token ?? (loopback ? undefined : randomBytes(24).toString('base64url'))
  const hub = createStreamHub({
    events: (after) => node.events(after),
    onEvent: (listener) => node.onEvent(listener),
    snapshot: () => snapshotOf(node),
  })
  const server = fastify({
    bodyLimit: BODY_LIMIT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    logger: false,
  })
  const secrets = token === undefined ? {} : { token }
  server.addHook('onRequest', guard({ loopback, ...secrets }))
  server.addHook('onSend', async (_request, reply) => {
    reply.headers({
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
  })
  server.setErrorHandler((error: FastifyError | StarlingError, request, reply) =>
    answerError(error, request.url, reply, log),
  )
  server.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ error: { code: 'not-found', message: `Nothing at ${request.method} ${request.url.slice(0, 200)}` } }),
  )
  addRoutes(server, node, hub)
  const shared = {
    dotfiles: 'ignore',
    cacheControl: false,
    allowedPath: (path: string) => /(^\/|\.(html|css|svg|m?js))$/.test(path),
  } as const
  await server.register(fastifyStatic, { ...shared, root: PAGE, index: ['index.html'] })
  await server.register(fastifyStatic, { ...shared, root: VIEW, prefix: '/view/', index: false, decorateReply: false })
  const url = await listen(server, options)
  if (options.dataFolder !== undefined) {
    writeEndpoint(options.dataFolder, { url, ...secrets, pid: process.pid, startedAt: Date.now() })
  }
  log.info('API and page are served', { url })
  let closing: Promise<void> | undefined
  return {
    url,
    page: token === undefined ? url : `${url}?token=${token}`,
    ...secrets,
    close() {
      closing ??= (async () => {
        if (options.dataFolder !== undefined) removeEndpoint(options.dataFolder)
        hub.close()
        await server.close()
      })()
      return closing
    },
  }
}

/** What the page draws beside the events; without status and peers while the node has no manifest. */
function snapshotOf(node: ApiNode): unknown {
  const explained = node.explain()
  try {
    return { status: node.status(), peers: node.peers(), explained }
  } catch (error) {
    if (error instanceof StarlingError && error.code === 'not-ready') return { explained }
    throw error
  }
}

function addRoutes(server: FastifyInstance, node: ApiNode, hub: ReturnType<typeof createStreamHub>): void {
  let generating = 0
  server.get('/api/status', () => node.status())
  server.get('/api/peers', () => node.peers())
  server.get('/api/explain', () => node.explain())
  server.get(HEALTH, (_request, reply) => {
    const stopping = node.explain().every(({ state }) => state === 'stopping')
    return reply.code(stopping ? 503 : 200).send({ healthy: !stopping })
  })
  server.get('/api/events', (request) => node.events(parse(eventsQuery, request.query).after))
  server.get('/api/events/stream', (request, reply) => {
    const header = request.headers['last-event-id']
    const lastId = typeof header === 'string' ? header : parse(streamQuery, request.query).after
    if (!hub.open(reply.raw, lastId))
      throw new StarlingError('streams-busy', `At most ${MAX_STREAMS} event streams are served`)
    reply.hijack()
  })
  server.post('/api/stop', async (_request, reply) => {
    await reply.code(202).send({ stopping: true })
    // After the answer is on its way: stopping closes this very server.
    setImmediate(() => void node.stop('asked over the API').catch(() => {}))
  })
  server.post('/api/generate', async (request) => {
    const body = parse(generateBody, request.body ?? {})
    if (generating >= MAX_GENERATIONS)
      throw new StarlingError('generation-busy', 'A text is being written; try again in a moment')
    generating += 1
    try {
      return { text: await node.generate(body) }
    } finally {
      generating -= 1
    }
  })
  server.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await node.metrics()
    return reply.type(contentType).send(text)
  })
}

function answerError(error: FastifyError | StarlingError, url: string, reply: FastifyReply, log: Log): FastifyReply {
  if (error instanceof StarlingError) {
    const status = STATUS[error.code] ?? 500
    if (status === 500) log.warn('A request failed', { url }, error)
    return reply.code(status).send({ error: { code: error.code, message: error.message } })
  }
  const status = error.statusCode ?? 500
  if (status < 500) return reply.code(status).send({ error: { code: 'request-invalid', message: error.message } })
  // What is inside stays inside: the log has it.
  log.error('A request failed', { url }, error)
  return reply.code(500).send({ error: { code: 'internal', message: 'The node could not answer; its log says why' } })
}
