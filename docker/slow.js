/**
 * Limits what each peer sends, for the profile "slow" of docker-compose.yml: a token bucket on the interface inside the peer's network namespace.
 *
 * A namespace can be entered with the engine's help only, and a peer that is started again gets a new one. So this looks for peers every
 * few seconds and has each new one treated by a short-lived container that shares the peer's network and may administer it.
 * STARLING_RATE is the limit in the words of tc, e.g. 10mbit. Stopping this container takes the limits away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, replicas, self, untilStopped } from './engine.js'

const rate = process.env.STARLING_RATE || '10mbit'
if (!/^[1-9]\d{0,9}(\.\d+)?[kmg]?bit$/.test(rate)) {
  console.error(`slow: STARLING_RATE is "${rate}"; it must be a rate as 10mbit, 512kbit or 1gbit`)
  process.exit(2)
}

/** Milliseconds between two looks for new peers. */
const LOOK = 3_000

/** Bytes that may be sent at once: more than a timer tick's worth at 100 Mbit/s, and little against a round's exchange. */
const BURST = '64kb'

/** Longest wait of a packet in the bucket's queue; it is dropped beyond, which is how TCP learns the rate. */
const LATENCY = '400ms'

const stopped = untilStopped()
const image = (await self()).Image

/** Runs tc beside a container, in its network namespace. Throws with what tc said. */
async function control(peer, ...words) {
  const made = await ask('POST', '/containers/create', {
    Image: image,
    Entrypoint: ['tc'],
    Cmd: words,
    HostConfig: { NetworkMode: `container:${peer.id}`, CapDrop: ['ALL'], CapAdd: ['NET_ADMIN'] },
    Healthcheck: { Test: ['NONE'] },
  })
  try {
    await ask('POST', `/containers/${made.Id}/start`)
    const { StatusCode } = await ask('POST', `/containers/${made.Id}/wait`)
    if (StatusCode === 0) return
    const said = await ask('GET', `/containers/${made.Id}/logs?stdout=1&stderr=1`)
    const text = said.replace(/[^\x20-\x7e]+/g, ' ').trim()
    throw Object.assign(new Error(`tc ended with ${StatusCode}: ${text}`), { status: 0 })
  } finally {
    await ask('DELETE', `/containers/${made.Id}?force=1`)
  }
}

/** The peers that are limited, by id and start: a peer that was started again has a new namespace. */
let limited = new Map()

/** Limits one peer. False when that did not work this time. */
async function limit(peer) {
  try {
    const bucket = ['tbf', 'rate', rate, 'burst', BURST, 'latency', LATENCY]
    await control(peer, 'qdisc', 'replace', 'dev', 'eth0', 'root', ...bucket)
    console.log(`slow: ${peer.name} sends at most ${rate}`)
    return true
  } catch (error) {
    // A peer may die at any moment; without an engine there is nothing to do here.
    if (error.status === undefined) throw error
    console.error(`slow: ${peer.name} is not limited: ${error.message}`)
    return false
  }
}

do {
  const now = new Map()
  for (const peer of await replicas('peer')) {
    const key = `${peer.id} ${peer.startedAt}`
    if (limited.has(key) || (await limit(peer))) now.set(key, peer)
  }
  limited = now
} while (await sleep(LOOK, true, { signal: stopped }).catch(() => false))

// All at once: there is only so much time until this container is killed.
const free = (peer) =>
  control(peer, 'qdisc', 'delete', 'dev', 'eth0', 'root').catch((error) => console.error(`slow: ${error.message}`))
await Promise.all([...limited.values()].map(free))
