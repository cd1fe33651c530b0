/** The end of a run: waiting until all members have finished and hold the same set, so that their final parameters are the same bits. */
import { Bell } from '../bell.ts'
import type { Swarm } from '../ports.ts'
import type { Report } from '../strategy.ts'
import type { Sync } from './log/index.ts'
import type { ContributionLog } from './types.ts'

/** For so long a connected peer that has not been heard of as a member may still turn out to be one, ms: two heartbeats may get lost. */
const UNHEARD = 6_000

/** Pause between two looks at the members, ms. */
const LOOK = 500

/** The whole wait is at most this many times `patience`: a peer that sends a byte now and then holds nobody up for ever. */
const LONGEST = 10

/** Members that are asked at once for their sets when they are not known to agree. */
const ASKED = 4

export interface SettleModules {
  swarm: Swarm
  log: ContributionLog
  sync: Pick<Sync, 'now' | 'agreeing'>
  report: Report
}

/**
 * Resolves to true when every member that this peer sees has finished with its set; to false when for `patience` ms nothing has come that brings
 * that closer, after {@link LONGEST} times that in any case, and when aborted. `changed` is called whenever the set has grown meanwhile.
 */
export async function settle(
  { swarm, log, sync, report }: SettleModules,
  { patience, signal }: { patience: number; signal: AbortSignal },
  changed: () => Promise<void>,
): Promise<boolean> {
  const { clock } = swarm
  const bell = new Bell()
  const stop = log.onChange(() => bell.ring())
  const started = clock.now()
  let news = started
  let count = log.count
  let open = Number.POSITIVE_INFINITY
  let told = false
  try {
    while (!signal.aborted) {
      const agreeing = new Set(sync.agreeing())
      const unsettled = swarm
        .members()
        // What a peer last called its set may be older than its last contribution, but not when that set has as many as it holds.
        .filter(
          ({ peer, status }) => !(status.phase === 'finished' && status.round === log.count && agreeing.has(peer)),
        )
        .map(({ peer }) => peer)
      if (log.count !== count || unsettled.length < open) {
        news = clock.now()
        open = unsettled.length
      }
      if (log.count !== count) {
        count = log.count
        await changed()
        continue
      }
      const members = new Set(swarm.members().map(({ peer }) => peer))
      const heard = clock.now() - started >= UNHEARD || swarm.connected().every((peer) => members.has(peer))
      if (unsettled.length === 0 && heard) {
        return true
      }
      if (clock.now() - news >= patience || clock.now() - started >= LONGEST * patience) {
        return false
      }
      if (!told) {
        told = true
        report({ kind: 'waiting', what: 'others', for: 'the others to finish with the same contributions' })
      }
      for (const peer of unsettled.slice(0, ASKED)) {
        sync.now(peer)
      }
      await bell.wait(clock, LOOK, signal)
    }
    return false
  } finally {
    stop()
  }
}
