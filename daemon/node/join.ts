import { fetchManifest, StarlingError } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { Network } from '../network/index.ts'
import { openRun, type Run } from '../run/index.ts'

/** How long a joiner looks for a peer that gives it the run's manifest, milliseconds; then the link is of no use now. */
export const JOIN_TIMEOUT = 60_000

/** Wait between two rounds of asking, milliseconds. */
const JOIN_PAUSE = 500

/** What a peer named in the link may answer that waiting does not change. */
const REFUSALS = new Set(['not-admitted', 'other-version'])

/** Time for others of the link to answer when one has refused us, milliseconds. */
const REFUSAL_PATIENCE = 5_000

/** Addresses whose reasons stand in the error. */
const MAX_REASONS = 3

/** Time between two lines that say what is waited for, milliseconds. */
const SAY_EVERY = 10_000

/**
 * Fetches the manifest of run `id` from whoever is connected, waiting for connections. Throws StarlingError 'no-peer-reachable' after
 * {@link JOIN_TIMEOUT}, 'not-admitted' or 'other-version' when a peer of the link says so and no other one answers, 'wrong-manifest' stays with the peer that sent it, 'bad-manifest' when this version does not understand it.
 */
export async function joinRun(
  id: string,
  modules: { network: Network; log: Log; tried: readonly string[] },
  signal: AbortSignal,
  timeout: number = JOIN_TIMEOUT,
): Promise<Run> {
  const { network, log, tried } = modules
  const { clock } = network
  const begun = clock.now()
  let said = Number.NEGATIVE_INFINITY
  let last: StarlingError | undefined
  for (;;) {
    if (network.connected().length > 0) {
      try {
        return openRun(await fetchManifest(network, id, { signal }))
      } catch (error) {
        if (!(error instanceof StarlingError) || error.code !== 'no-manifest') throw error
        last = error
      }
    }
    const waited = clock.now() - begun
    // Only those that the user or the link named: a stranger from a DHT must not be able to turn a newcomer away.
    const refused = network
      .bootstrap()
      .find(({ address, refusal = '' }) => tried.includes(address) && REFUSALS.has(refusal))
    if (refused !== undefined && waited > REFUSAL_PATIENCE && network.connected().length === 0) {
      throw new StarlingError(refused.refusal as string, refused.error ?? 'the run cannot be joined', { run: id })
    }
    if (waited > timeout) {
      const why = last?.message ?? whyNobody(network, tried)
      const message = `the run could not be joined within ${Math.round(timeout / 1_000)} s: ${why}`
      throw new StarlingError('no-peer-reachable', message, { run: id, tried: [...tried] }, { cause: last })
    }
    if (clock.now() - said >= SAY_EVERY) {
      said = clock.now()
      log.info('waiting for a peer of the run', {
        connections: network.connected().length,
        seconds: Math.round((timeout - waited) / 1_000),
      })
    }
    await clock.sleep(JOIN_PAUSE, signal)
  }
}

/** What became of the first few addresses. */
function whyNobody(network: Network, tried: readonly string[]): string {
  const reasons = network
    .bootstrap()
    .flatMap(({ address, error }) => (error === undefined ? [] : [`${address}: ${error}`]))
  return reasons.length === 0
    ? `none of ${tried.join(', ') || 'its peers'} could be reached`
    : reasons.slice(0, MAX_REASONS).join('; ')
}
