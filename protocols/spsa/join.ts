/** How a peer that is behind gets to the parameters of the run: by replaying the log, or from another peer's sums, whichever is quicker. */
import { StarlingError } from '../errors.ts'
import type { PeerName } from '../ports.ts'
import { shuffled } from '../random.ts'
import type { StrategyModules } from '../strategy.ts'
import type { Sync } from './log/index.ts'
import { countOf } from './path.ts'
import { askForSnapshot, fetchSnapshot, type Snapshot, type SnapshotModules } from './snapshot.ts'
import { adoptTask } from './tasks.ts'

/** A replay that takes no longer than this, s, is not worth asking around for anything else. */
const SHORT_REPLAY = 2

/** Phases in which a peer has sums to give. */
const GIVERS: readonly string[] = ['training', 'finished']

/** Peers asked for a snapshot at most. */
const MAX_DONORS = 4

/** Wait for the contributions of a snapshot that the log does not have yet, ms, and pause between two looks. */
const HELD_TIMEOUT = 10_000
const LOOK = 100

/** Bytes after which the speed of a transfer is believed. */
const MEASURED_BYTES = 4 * 1024 * 1024

/** What joining needs beside what snapshots need. */
export interface JoinModules extends SnapshotModules, Pick<StrategyModules, 'report'> {
  sync: Pick<Sync, 'now'>
}

/** From whom the sums were taken, and their size in bytes. */
export interface Taken {
  donor: PeerName
  bytes: number
}

/** Takes the sums over from another peer where that is quicker than to replay the log. Returns from whom; whoever calls follows the log from there. */
export async function catchUp(modules: JoinModules, signal: AbortSignal): Promise<Taken | undefined> {
  const { sums, log } = modules
  // The first slice is work that a replay needs anyway, and measures how long the rest would take.
  if (await sums.advance(log.version())) {
    return undefined
  }
  const replay = sums.secondsFor(log.count - countOf(sums.version))
  return replay <= SHORT_REPLAY ? undefined : takeSnapshot(modules, replay, signal)
}

/** Takes over the sums of another peer, if one gives them sooner than `replay` seconds. */
async function takeSnapshot(modules: JoinModules, replay: number, signal: AbortSignal): Promise<Taken | undefined> {
  const { swarm, learner, sums, log, report } = modules
  const plan = (choice: 'snapshot' | 'replay', snapshotSeconds?: number): void =>
    report({
      kind: 'plan',
      choice,
      contributions: log.count,
      replaySeconds: replay,
      ...(snapshotSeconds === undefined ? {} : { snapshotSeconds }),
    })
  const refused = (peer: PeerName, reason: string): void => report({ kind: 'rejected', peer, what: 'snapshot', reason })
  const donors = swarm.members().filter(({ status }) => GIVERS.includes(status.phase) && 2 * status.round >= log.count)
  for (const { peer } of shuffled(donors, swarm.random('spsa-donor')).slice(0, MAX_DONORS)) {
    try {
      const snapshot = await askForSnapshot(modules, peer, signal)
      if (!(await held(modules, peer, snapshot, signal))) {
        refused(peer, 'it is of contributions that this peer has excluded or cannot get')
        continue
      }
      const rest = sums.secondsFor(log.count - countOf(snapshot.version))
      const { slow, seconds } = await pullWithin(modules, peer, snapshot, replay - rest, signal)
      if (slow) {
        plan('replay', seconds)
        return undefined
      }
      plan('snapshot', seconds)
      await learner.compute(adoptTask, null)
      sums.assume(snapshot.version)
      return { donor: peer, bytes: snapshot.size }
    } catch (error) {
      if (signal.aborted || !(error instanceof StarlingError)) {
        throw error
      }
      // Another one is asked, whatever was wrong; what is proven is held against its giver.
      if (error.code === 'bad-snapshot' || error.code === 'bad-message') {
        swarm.penalize(peer, error.code)
        refused(peer, error.message)
      }
    }
  }
  plan('replay')
  return undefined
}

/** Whether the log holds all of the snapshot's set, after its giver was asked for what is missing. */
async function held(
  { swarm, sums, sync }: JoinModules,
  peer: PeerName,
  { version }: Snapshot,
  signal: AbortSignal,
): Promise<boolean> {
  const until = swarm.clock.now() + HELD_TIMEOUT
  if (!sums.covers(version)) {
    sync.now(peer)
  }
  while (!sums.covers(version) && swarm.clock.now() < until) {
    await swarm.clock.sleep(LOOK, signal)
  }
  return sums.covers(version)
}

/** Fetches the snapshot, unless its transfer is seen to take longer than `limit` seconds. */
async function pullWithin(
  modules: JoinModules,
  peer: PeerName,
  snapshot: Snapshot,
  limit: number,
  signal: AbortSignal,
): Promise<{ slow: boolean; seconds: number }> {
  const { clock } = modules.swarm
  const started = clock.now()
  const ended = new AbortController()
  const end = (): void => ended.abort()
  signal.addEventListener('abort', end, { once: true })
  let seconds = 0
  let slow = false
  try {
    await fetchSnapshot(modules, peer, snapshot, {
      signal: ended.signal,
      onProgress({ bytes, size }) {
        seconds = ((clock.now() - started) / 1_000) * (size / bytes)
        if (bytes >= MEASURED_BYTES && seconds > limit) {
          slow = true
          end()
        }
      },
    })
  } catch (error) {
    if (!slow || signal.aborted) {
      throw error
    }
  } finally {
    signal.removeEventListener('abort', end)
  }
  return { slow, seconds }
}
