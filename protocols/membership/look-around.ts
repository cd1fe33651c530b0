/** A look around for others, before a peer begins. */
import type { Swarm } from '../ports.ts'

/** How long a peer without connections looks for members before it starts the run by itself, ms. */
const ALONE_WAIT = 2_000

/** How long a peer with connections waits for a first heartbeat, ms: two of them may get lost. */
const HEARTBEAT_WAIT = 6_000

/** Step of the waits above, ms. */
const LOOK = 100

/** Waits until it is known whether there are others. */
export async function lookAround(swarm: Swarm, signal: AbortSignal): Promise<void> {
  const started = swarm.clock.now()
  while (swarm.members().length === 0 && !signal.aborted) {
    const waited = swarm.clock.now() - started
    if (waited >= (swarm.connected().length > 0 ? HEARTBEAT_WAIT : ALONE_WAIT)) {
      break
    }
    await swarm.clock.sleep(LOOK, signal).catch(() => undefined)
  }
}
