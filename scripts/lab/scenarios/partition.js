import { pause, until } from '../node.js'
import {
  connectedAfter,
  exchanges,
  learns,
  losses,
  ready,
  START_PATIENCE,
  trainTogether,
  writeRun,
} from '../training.js'

/** How long the network is cut in two, s. */
const PARTITION = 60

/** What is on its way when the rules come is not counted to the partition, s. */
const GRACE = 25

/** Four machines, two and two. */
export const partition = {
  name: 'partition',
  about: `four machines; for ${PARTITION} s two cannot reach the other two (packets dropped), then they can again`,
  limit: 900,
  async run({ topology, crew, folder, signal }) {
    const run = writeRun(folder)
    const first = await ready(crew.start('one', 'c1', ['start', run, ...topology.publicly('c1'), '--threads', '1']), {
      signal,
    })
    const others = ['two', 'three', 'four'].map((name, i) =>
      crew.start(name, `c${i + 2}`, ['join', first.ready.link, ...topology.publicly(`c${i + 2}`), '--threads', '1']),
    )
    for (const node of others) await ready(node, { signal })
    const all = [first, ...others]
    const sides = [all.slice(0, 2), all.slice(2)]
    const met = (since) => sides[0].flatMap((node) => sides[1].flatMap((other) => exchanges(node, other, since)))
    const began = Date.now()
    for (const node of all.slice(1)) await trainTogether(first, node, { since: 0, signal, times: 1 })
    await until('exchanges across', START_PATIENCE, () => met(began).length > 0, signal)

    const heal = topology.cut(['c1', 'c2'], ['c3', 'c4'])
    const cutAt = Date.now()
    const before = all.map((node) => node.own('step').at(-1).step)
    await pause(PARTITION, signal)
    const during = sides.map(([one, other]) => exchanges(one, other, cutAt).length)
    const steps = all.map((node, i) => node.own('step').at(-1).step - before[i])
    const leaked = met(cutAt + GRACE * 1_000).length
    heal()
    const healedAt = Date.now()
    await until('an exchange across after the heal', 120, () => met(healedAt).length > 0, signal)
    const resumed = (met(healedAt)[0].seenAt - healedAt) / 1_000
    const connections = sides[0].flatMap((node) => sides[1].map((other) => connectedAfter(node, other, healedAt)))
    await learns(first, { signal })
    return {
      leastSteps: Math.min(...steps),
      exchangesWithin: during,
      leaked,
      connectedAfter: Math.min(...connections.filter((time) => time !== undefined)),
      resumedAfter: resumed,
      ...losses(first),
    }
  },
  expected: {
    'everybody goes on training': ({ leastSteps }) => leastSteps > 100,
    'each side goes on exchanging': ({ exchangesWithin }) => exchangesWithin.every((count) => count > 0),
    'nothing passed': ({ leaked }) => leaked === 0,
    'the sides exchange again within a minute': ({ resumedAfter }) => resumedAfter < 60,
  },
}
