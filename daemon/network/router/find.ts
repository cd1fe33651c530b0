/** Finds the router of this network: by NAT-PMP at the default route and by UPnP's search at the same time. */
import { StarlingError } from '../../../protocols/index.ts'
import { likelyRouters } from './gateway.ts'
import { natPmpRouter } from './nat-pmp.ts'
import { searchRouters } from './ssdp.ts'
import type { Router } from './types.ts'
import { upnpRouter } from './upnp.ts'

/** A router that was found, and the address at which the world sees it. */
export interface FoundRouter {
  router: Router
  externalHost: string
}

/**
 * Resolves to the first that says its public address. Rejects with what a router refused, or with 'router-silent' when none answers, eight seconds later.
 */
export async function findRouter(signal: AbortSignal): Promise<FoundRouter> {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  let won = false
  const tried = async (opened: Promise<Router>): Promise<FoundRouter> => {
    const router = await opened
    try {
      const externalHost = await router.externalHost(stop)
      if (won) throw new Error('another router was first')
      won = true
      return { router, externalHost }
    } catch (error) {
      router.close()
      throw error
    }
  }
  const byUpnp = (): Promise<FoundRouter> =>
    new Promise((resolve, reject) => {
      const found: Promise<FoundRouter>[] = []
      const searched = searchRouters((one) => {
        const attempt = tried(upnpRouter(one, stop))
        found.push(attempt)
        attempt.then(resolve, () => {})
      }, stop)
      void searched.then(() => Promise.any(found)).then(resolve, reject)
    })
  const byNatPmp = async (): Promise<FoundRouter> =>
    Promise.any((await likelyRouters()).map((host) => tried(natPmpRouter(host))))
  try {
    return await Promise.any([byNatPmp(), byUpnp()])
  } catch (error) {
    signal.throwIfAborted()
    throw told(error) ?? new StarlingError('router-silent', 'no router answers UPnP or NAT-PMP', {}, { cause: error })
  } finally {
    over.abort(new Error('a router was found'))
  }
}

/** What a router said, of all that failed. */
function told(error: unknown): StarlingError | undefined {
  if (error instanceof AggregateError) return error.errors.map(told).find((one) => one !== undefined)
  return error instanceof StarlingError && error.code === 'router-refused' ? error : undefined
}
