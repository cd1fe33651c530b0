/**
 * Kills a peer now and then and starts it again some time later, for the profile "chaos" of docker-compose.yml.
 *
 * Kills are SIGKILL: no checkpoint, no goodbye. STARLING_CHAOS_EVERY and STARLING_CHAOS_DOWN are the mean seconds between two kills and
 * the seconds that a peer stays away; STARLING_CHAOS_SEED repeats the same choices among the same peers.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, replicas, untilStopped } from './engine.js'

/** Reads a positive number of seconds, as milliseconds. */
function seconds(name, usual) {
  const value = Number(process.env[name] || usual)
  if (value > 0 && value <= 86_400) return value * 1_000
  console.error(`chaos: ${name} is "${process.env[name]}"; it must be more than 0 and at most 86400 seconds`)
  process.exit(2)
}

const every = seconds('STARLING_CHAOS_EVERY', 30)
const down = seconds('STARLING_CHAOS_DOWN', 10)

/** Peers that stay alive, so that the run is always somewhere. */
const SPARED = 1

/** A small seeded generator of numbers in [0, 1): mulberry32. */
function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const random = generator(Number(process.env.STARLING_CHAOS_SEED || Date.now()))
const stopped = untilStopped()

/** Waits; false when this container is told to stop meanwhile. */
async function pause(milliseconds) {
  return sleep(milliseconds, true, { signal: stopped }).catch(() => false)
}

async function killOne() {
  const peers = (await replicas('peer')).sort((a, b) => (a.name < b.name ? -1 : 1))
  if (peers.length <= SPARED) {
    console.log(`chaos: ${peers.length} peer runs, nobody is killed`)
    return
  }
  const victim = peers[Math.floor(random() * peers.length)]
  console.log(`chaos: killing ${victim.name}, one of ${peers.length}; back in ${down / 1_000} s`)
  await ask('POST', `/containers/${victim.id}/kill?signal=SIGKILL`)
  await pause(down)
  // Also when this container stops: nobody else would start it again.
  await ask('POST', `/containers/${victim.id}/start`)
  console.log(`chaos: ${victim.name} is back`)
}

// Exponential waits: deaths of machines know nothing of one another.
while (await pause(-Math.log(1 - random()) * every)) {
  try {
    await killOne()
  } catch (error) {
    // A peer that compose removed meanwhile; without an engine there is nothing to do here.
    if (error.status === undefined) throw error
    console.error(`chaos: ${error.message}`)
  }
}
