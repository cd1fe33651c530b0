import { pause, until } from '../node.js'
import {
  bootstrapAddress,
  learns,
  losses,
  ready,
  startBootstrap,
  startStun,
  trainTogether,
  watchWays,
  writeRun,
} from '../training.js'

/** How long an upgrade of the relayed connection is waited for, s. It may never come, and that is reported. */
const UPGRADE = 45

/** How long they train before the relay's bytes are looked at again, s. */
const QUIET = 10

/** Two homes, neither of which lets anybody in. */
export const relay = {
  name: 'relay',
  about: 'a run started behind one router is joined from behind another, over the relay of a public bootstrap node',
  limit: 900,
  run: (lab) => overTheRelay(lab),
  expected: {
    'the newcomer trains within two minutes': ({ firstExchange }) => firstExchange < 120,
    'they meet': ({ ways }) => ways.length > 0,
    'its loss falls': ({ firstLoss, lastLoss }) => lastLoss < firstLoss,
  },
}

/** The same, and they try to reach each other straight. */
export const webrtc = {
  name: 'webrtc',
  about:
    'the same with --webrtc and a STUN server: the relay introduces them, and they connect straight if their routers allow it',
  nats: ['port-restricted', 'symmetric'],
  limit: 900,
  run: (lab) => overTheRelay(lab, { webrtc: true }),
  expected: {
    ...relay.expected,
    'a port-restricted router is passed, a symmetric one need not be': ({ ways, nat }) =>
      nat !== 'port-restricted' || ways.at(-1).startsWith('webrtc'),
  },
}

/** The same on thin and lossy lines. */
export const slowRelay = {
  name: 'slow-relay',
  about: 'the same with 10 Mbit/s and 5 % loss at both homes and at the bootstrap node',
  limit: 900,
  async run(lab) {
    for (const host of ['boot', 'a1', 'b1']) {
      lab.topology.shape(host, { rate: '10mbit' })
      lab.topology.lose(host, 0.05)
    }
    return { ...(await overTheRelay(lab)), share: lostShare(lab.topology, 'b1') }
  },
  expected: {
    'packets really were lost': ({ share }) => share > 0.025 && share < 0.1,
    'the newcomer trains within two minutes': ({ firstExchange }) => firstExchange < 120,
    'its loss falls': ({ firstLoss, lastLoss }) => lastLoss < firstLoss,
  },
}

function lostShare(topology, host) {
  const { packets, dropped } = topology.lost(host)
  return dropped / packets
}

async function overTheRelay(lab, { webrtc = false } = {}) {
  const { crew, folder, signal, topology, say } = lab
  await startBootstrap(lab)
  const stun = webrtc ? ['--webrtc', '--stun', await startStun(lab)] : []
  const flags = ['--bootstrap', bootstrapAddress(topology), ...stun]
  const first = await ready(crew.start('first', 'a1', ['start', writeRun(folder), ...flags]), { signal })
  say(`start printed ${first.ready.link}`)
  const since = Date.now()
  const second = await ready(crew.start('second', 'b1', ['join', first.ready.link, ...stun]), { signal })
  const watch = watchWays(lab, second, first, since)
  try {
    const { firstExchange } = await trainTogether(first, second, { since, signal })
    const direct = () => watch.ways.length > 0 && watch.ways.at(-1).via !== 'relay'
    await until('an upgrade', UPGRADE, direct, signal).catch((error) => {
      if (signal.aborted) throw error
    })
    await learns(second, { signal })
    const before = relayed(topology)
    await pause(QUIET, signal)
    return {
      joined: second.readyAfter,
      firstExchange,
      ways: watch.ways.map(({ via, seconds }) => `${via} at ${Math.round(seconds)} s`),
      nat: topology.nat,
      relayedBytesPerSecond: (relayed(topology) - before) / QUIET,
      reachability: (await second.status()).reachability?.state ?? null,
      ...losses(second),
    }
  } finally {
    watch.stop()
  }
}

/** Bytes that the bootstrap node's link has sent: what it relays, when it has nothing else to do. */
function relayed(topology) {
  const [statistics] = JSON.parse(topology.inside('boot', 'ip', '-json', '-statistics', 'link', 'show', 'eth0'))
  return statistics.stats64.tx.bytes
}
