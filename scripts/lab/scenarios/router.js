import { readFileSync } from 'node:fs'
import { until } from '../node.js'
import { letForward, ROUTER_PROGRAMS } from '../router.js'
import {
  bootstrapAddress,
  learns,
  losses,
  ready,
  startBootstrap,
  trainTogether,
  watchWays,
  writeRun,
} from '../training.js'

/** How long a direct connection is waited for, s. */
const PATIENCE = 120

/** Waits until two peers train together and are connected directly: the seconds until their first exchange, and every way in which they were connected. */
async function meetDirectly(lab, first, second, since) {
  const { signal } = lab
  const watch = watchWays(lab, second, first, since)
  try {
    const { firstExchange } = await trainTogether(first, second, { since, signal })
    await until('a direct connection', PATIENCE, () => watch.ways.at(-1)?.via === 'direct', signal)
    return {
      firstExchange,
      ways: watch.ways.map(({ via, seconds }) => `${via} at ${Math.round(seconds)} s`),
      at: watch.ways.at(-1).address,
    }
  } finally {
    watch.stop()
  }
}

/** One of two can be dialled after all: the other, whom it reached through a relay, dials it. */
export const reversal = {
  name: 'reversal',
  about:
    'a run behind a router is joined from a public machine over the relay; who is behind the router then dials the newcomer (connection reversal)',
  limit: 600,
  async run(lab) {
    const { crew, folder, signal, topology } = lab
    await startBootstrap(lab)
    const flags = ['--bootstrap', bootstrapAddress(topology), '--threads', '1']
    const first = await ready(crew.start('first', 'a1', ['start', writeRun(folder), ...flags]), { signal })
    const since = Date.now()
    const second = await ready(crew.start('second', 'c1', ['join', first.ready.link, '--threads', '1']), { signal })
    const met = await meetDirectly(lab, first, second, since)
    await learns(second, { signal })
    return { joined: second.readyAfter, ...met, ...losses(second) }
  },
  expected: {
    'they are connected without the relay': ({ ways }) => ways.at(-1).startsWith('direct'),
    'who is behind the router dialled': ({ at }) => at.startsWith('/ip4/44.128.0.2/'),
    'its loss falls': ({ firstLoss, lastLoss }) => lastLoss < firstLoss,
  },
}

/** Two homes whose routers forward ports when asked. */
export const upnp = {
  name: 'upnp',
  about:
    'two homes; one router forwards ports by UPnP (and refuses one machine), the other by NAT-PMP: both peers can be dialled, and no relay is needed',
  limit: 900,
  needs: ROUTER_PROGRAMS,
  async run(lab) {
    const { crew, folder, signal, topology, say } = lab
    await startBootstrap(lab)
    const routers = {
      a: letForward(lab, 'a', { speaks: 'upnp', refuses: ['a2'] }),
      b: letForward(lab, 'b', { speaks: 'nat-pmp' }),
    }
    const flags = ['--upnp', '--threads', '1']
    const began = Date.now()
    const first = await ready(
      crew.start('first', 'a1', ['start', writeRun(folder), '--bootstrap', bootstrapAddress(topology), ...flags]),
      { signal },
    )
    const reachable = (node) =>
      until(
        `${node.name} can be dialled`,
        PATIENCE,
        async () => {
          const { link, reachability } = await node.status()
          return reachability?.state === 'reachable' && link.includes(`/ip4/${topology.seenAs(node.host)}/`) && link
        },
        signal,
      )
    const link = await reachable(first)
    const reachableAfter = (Date.now() - began) / 1_000
    say(`others can dial the first: ${link}`)

    const since = Date.now()
    const second = await ready(crew.start('second', 'b1', ['join', link, ...flags]), { signal })
    const met = await meetDirectly(lab, first, second, since)
    await reachable(second)
    const third = await ready(crew.start('third', 'a2', ['join', link, ...flags]), { signal })
    const refusal = await until(
      'the refusal is told',
      PATIENCE,
      () => /the router at \S+ refuses[^"]*/.exec(readFileSync(third.log, 'utf8'))?.[0],
      signal,
    )
    const forwarded = Object.values(routers).map((router) => router.forwarded())
    for (const node of [second, first]) await node.stop()
    return {
      reachableAfter,
      joined: second.readyAfter,
      ...met,
      forwarded,
      leftAfterStop: Object.values(routers).flatMap((router) => router.forwarded()),
      refusal,
    }
  },
  expected: {
    'each router forwards one port': ({ forwarded }) => forwarded.every(({ length }) => length === 1),
    'they are connected without the relay from the start': ({ ways }) => ways[0].startsWith('direct'),
    'nothing is left forwarded': ({ leftAfterStop }) => leftAfterStop.length === 0,
    'who is refused is told': ({ refusal }) => refusal.includes('UPnP'),
  },
}
