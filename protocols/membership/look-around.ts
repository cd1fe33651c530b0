/** A look around for others, before a peer begins. */
import type { Swarm } from '../ports.ts'

/** How long a peer without connections looks for members before it starts the run by itself, ms. */
const ALONE_WAIT = 2_000

/** How long a peer waits for a heartbeat of each peer that it is connected with, ms: longer than a newcomer is left unanswered. */
const HEARTBEAT_WAIT = 6_000

/** Step of the waits above, ms. */
const LOOK = 100

/** Waits until it is known what the others do, as far as this peer is connected with them: the first one heard may be as new as this peer. */
export async function lookAround(swarm: Swarm, signal: AbortSignal): Promise<void> {
  const started = swarm.clock.now()
  while (!signal.aborted) {
    const waited = swarm.clock.now() - started
    const members = new Set(swarm.members().map(({ peer }) => peer))
    const connected = swarm.connected()
    const known = members.size > 0 && connected.every((peer) => members.has(peer))
    if (known || waited >= (members.size + connected.length > 0 ? HEARTBEAT_WAIT : ALONE_WAIT)) {
      break
    }
    await swarm.clock.sleep(LOOK, signal).catch(() => undefined)
  }
}
