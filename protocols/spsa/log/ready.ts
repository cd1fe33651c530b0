/** What comes before a peer's first contribution: the question whether it has made some in an earlier life that it no longer knows. */
import { StarlingError } from '../../errors.ts'
import type { Clock, PeerName } from '../../ports.ts'
import type { Report } from '../../strategy.ts'
import type { ContributionLog } from '../types.ts'

/** Time for a first member to be heard before a peer takes itself for alone, ms: longer than a heartbeat interval. */
const ALONE_AFTER = 3_000

/** Pause between two looks for members to ask, ms. */
const LOOK_INTERVAL = 250

/** Members asked at once. */
const READY_PEERS = 8

/** What {@link untilReady} works on. */
export interface ReadyModules {
  clock: Clock
  log: ContributionLog
  report: Report
  /** At most that many random members. */
  pick(count: number): PeerName[]
  /** Takes what a member has; whether it answered. */
  ask(peer: PeerName): Promise<boolean>
  stopped: AbortSignal
}

/**
 * Resolves when members were asked, or none was heard of for a while. With damaged own records one has to have answered. Throws
 * StarlingError 'aborted'.
 */
export async function untilReady(modules: ReadyModules, signal: AbortSignal): Promise<void> {
  const { clock, log, report, pick, ask, stopped } = modules
  const checkAborted = (): void => {
    if (signal.aborted || stopped.aborted) {
      throw new StarlingError('aborted', 'waiting for the own contributions was given up', {})
    }
  }
  const aloneAt = clock.now() + ALONE_AFTER
  let said = false
  for (;;) {
    checkAborted()
    const peers = pick(READY_PEERS)
    const answers = await Promise.all(peers.map(ask))
    checkAborted()
    if (answers.includes(true)) {
      log.trustOwn()
    }
    const asked = peers.length > 0 || clock.now() >= aloneAt
    if (asked && !log.ownDamaged) {
      return
    }
    if (log.ownDamaged && !said) {
      said = true
      report({ kind: 'waiting', what: 'contributions', for: 'a member that knows the own contributions' })
    }
    await clock.sleep(LOOK_INTERVAL, signal).catch(() => undefined)
  }
}
