/** Who may call the API: the owner of this machine on loopback, the holder of the token anywhere else, and never a strange web page. */
import { timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { StarlingError } from '../../protocols/index.ts'

/** Cookie in which the page keeps the token, so that it never stays in the address bar. */
export const TOKEN_COOKIE = 'starling_token'

/** Whether the node lives, and nothing else: for whoever watches processes, without the token. */
export const HEALTH = '/api/health'

/** True for an address that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** The name in a Host header, without its port: `[::1]:80` is `[::1]`. */
function hostName(header: string): string {
  return header.replace(/:\d*$/, '').toLowerCase()
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

function tokenOf(request: FastifyRequest): string | undefined {
  const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [name, value] = part.trim().split('=')
    if (name === TOKEN_COOKIE && value !== undefined) return value
  }
  return undefined
}

export interface GuardOptions {
  /** The API listens on loopback only. */
  loopback: boolean
  /** Asked of everybody when set. */
  token?: string
}

/**
 * The check before every request. Throws StarlingError 'host-refused' (a name that an attacker's DNS could have bound to this
 * machine), 'origin-refused' (another site's page), 'token-missing'.
 */
export function guard(options: GuardOptions): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const { loopback, token } = options
  return async (request, reply) => {
    const host = request.headers.host ?? ''
    if (loopback && !isLoopback(hostName(host))) {
      throw new StarlingError(
        'host-refused',
        `Host "${host.slice(0, 100)}" is not this machine; use localhost or 127.0.0.1`,
      )
    }
    const origin = request.headers.origin
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new StarlingError('origin-refused', 'Pages of other sites may not call this API')
    }
    if (token === undefined || (request.method === 'GET' && request.url === HEALTH)) return
    const query = (request.query as { token?: unknown }).token
    if (
      typeof query === 'string' &&
      sameText(query, token) &&
      request.method === 'GET' &&
      request.url.startsWith('/?')
    ) {
      // The link that the daemon prints: keep the token out of sight from here on.
      reply.header('set-cookie', `${TOKEN_COOKIE}=${token}; HttpOnly; SameSite=Strict; Path=/`)
      await reply.redirect('/')
      return
    }
    const given = tokenOf(request)
    if (given === undefined || !sameText(given, token)) {
      throw new StarlingError(
        'token-missing',
        'This API needs its token: "Authorization: Bearer <token>", or open the page by the link with ?token=',
      )
    }
  }
}
