/** Manifests by hash: whoever takes part in a run gives its manifest to whoever asks. */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import type { PeerName, Transport } from '../ports.ts'
import { defineMessage } from '../wire/index.ts'
import { MAX_MANIFEST_BYTES, runId, runIdFault, verifyManifest } from './bytes.ts'

/** Method of the question. */
export const MANIFEST_METHOD = 'manifest'

/** Time for one peer to answer, ms: 64 KiB over a slow link and a busy donor. */
const FETCH_TIMEOUT = 5_000

/** Most peers asked. */
const MAX_ASKED = 16

/** Asks for a manifest by the run's name. */
export const manifestQuestion = defineMessage(
  'manifest-question',
  z.strictObject({ run: z.string().min(1).max(128) }),
  {
    maxBytes: 160,
    maxItems: 8,
  },
)

/** Gives the manifest to whoever asks; returns how to stop that. The asker gets 'no-such-run' for any other run. */
export function serveManifest(transport: Pick<Transport, 'answer'>, bytes: Uint8Array): () => void {
  const run = runId(bytes)
  return transport.answer(MANIFEST_METHOD, (_from, question) => {
    const asked = manifestQuestion.decode(question).run
    if (asked !== run) {
      throw new StarlingError('no-such-run', `this peer takes part in run ${run} only`, { run })
    }
    return bytes
  })
}

/** Options of {@link fetchManifest}. */
export interface FetchManifestOptions {
  signal?: AbortSignal
  /** Whom to ask, in this order. Default: the connected peers. */
  peers?: readonly PeerName[]
  /** Milliseconds for each peer. Default 5,000. */
  timeout?: number
}

/**
 * The bytes of the manifest that the run is named after, from the first peer that has them; they are checked against the name. Throws
 * StarlingError 'bad-link' when `run` is not a CID, 'aborted', and 'no-manifest' with data.failures when no peer could give it.
 */
export async function fetchManifest(
  transport: Pick<Transport, 'ask' | 'connected' | 'penalize'>,
  run: string,
  options: FetchManifestOptions = {},
): Promise<Uint8Array> {
  const fault = runIdFault(run)
  if (fault !== undefined) {
    throw new StarlingError('bad-link', `${run} does not name a run: ${fault}`, { run })
  }
  const { signal, timeout = FETCH_TIMEOUT } = options
  const question = manifestQuestion.encode({ run })
  const failures: { peer: PeerName; code: string; reason: string }[] = []
  for (const peer of (options.peers ?? transport.connected()).slice(0, MAX_ASKED)) {
    try {
      const asked = { timeout, maxAnswer: MAX_MANIFEST_BYTES, ...(signal === undefined ? {} : { signal }) }
      const bytes = await transport.ask(peer, MANIFEST_METHOD, question, asked)
      verifyManifest(bytes, run)
      return bytes
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      if (signal?.aborted === true || error.code === 'aborted') {
        throw new StarlingError('aborted', 'fetching the manifest was given up', { run })
      }
      if (error.code === 'wrong-manifest' || error.code === 'answer-too-large') {
        transport.penalize(peer, error.code)
      }
      failures.push({ peer, code: error.code, reason: error.message })
    }
  }
  const reasons = failures.map(({ peer, reason }) => `${peer}: ${reason}`).join('; ')
  const message = `nobody could give the manifest of run ${run}: ${reasons === '' ? 'no peer is connected' : reasons}`
  throw new StarlingError('no-manifest', message, { run, failures })
}
