/** Opens the port of an HTTP server of ours. */
import type { FastifyInstance } from 'fastify'
import { StarlingError } from '../../protocols/index.ts'

/**
 * Listens; port 0 picks a free one. Resolves to the URL under which this machine reaches it, e.g. http://127.0.0.1:4173/. Throws StarlingError
 * 'port-in-use', 'port-refused', 'address-unavailable'.
 */
export async function listen(server: FastifyInstance, at: { host: string; port: number }): Promise<string> {
  const { host, port } = at
  try {
    await server.listen({ host, port })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const data = { host, port }
    if (code === 'EADDRINUSE') {
      const message = `Port ${port} is in use on ${host}; choose another, or 0 for a free one`
      throw new StarlingError('port-in-use', message, data, { cause: error })
    }
    if (code === 'EACCES') {
      const message = `Not allowed to listen on ${host}:${port}; ports below 1024 need rights`
      throw new StarlingError('port-refused', message, data, { cause: error })
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      const message = `${host} is not an address of this machine`
      throw new StarlingError('address-unavailable', message, data, { cause: error })
    }
    throw error
  }
  const address = server.server.address()
  const open = typeof address === 'object' && address !== null ? address.port : port
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${open}/`
}
