import { pause, until } from '../node.js'
import { connectedAfter, exchanges, ready, trainTogether, writeRun } from '../training.js'

/** How long a machine sleeps, s. */
const SLEEP = 90

/** Three machines that train together; the last one is who goes away. */
async function three({ topology, crew, folder, signal }) {
  const one = await ready(
    crew.start('one', 'c1', ['start', writeRun(folder), ...topology.publicly('c1'), '--threads', '1']),
    { signal },
  )
  const join = (name, host, ...flags) => crew.start(name, host, ['join', one.ready.link, ...flags, '--threads', '1'])
  // Who travels cannot say beforehand where it will be.
  const [two, traveller] = [join('two', 'c2', ...topology.publicly('c2')), join('traveller', 'c3')]
  for (const node of [two, traveller]) await ready(node, { signal })
  for (const node of [two, traveller]) await trainTogether(one, node, { since: 0, signal, times: 1 })
  return { one, two, traveller }
}

/** Waits until the traveller and somebody else have exchanged since a moment: seconds until it was connected again, and until the exchange. */
async function back({ one, two, traveller }, since, signal) {
  // Both must say so: what was in the buffers before is no exchange.
  const met = () =>
    [one, two]
      .filter((node) => exchanges(node, traveller, since).length > 0)
      .flatMap((node) => exchanges(traveller, node, since))
  await until('the traveller exchanges again', 180, () => met().length > 0, signal)
  const connections = [one, two]
    .map((node) => connectedAfter(traveller, node, since))
    .filter((time) => time !== undefined)
  return {
    // It may never have lost them.
    connectedAfter: connections.length === 0 ? 0 : Math.min(...connections),
    exchangesAfter: (Math.min(...met().map(({ seenAt }) => seenAt)) - since) / 1_000,
  }
}

/** A laptop's lid is closed and opened again. */
export const sleep = {
  name: 'sleep',
  about: `one of three machines sleeps for ${SLEEP} s (SIGSTOP: its connections hang), then wakes up`,
  limit: 900,
  async run(lab) {
    const { signal } = lab
    const all = await three(lab)
    const { one, two, traveller } = all
    traveller.sleep()
    const sleptAt = Date.now()
    await pause(SLEEP, signal)
    const meanwhile = exchanges(one, two, sleptAt).length
    const missed = one.own('member-left').find((line) => line.seenAt >= sleptAt && line.member === traveller.ready.peer)
    traveller.wake()
    const wokeAt = Date.now()
    const again = await back(all, wokeAt, signal)
    return {
      exchangesOfTheOthers: meanwhile,
      missedAfter: missed === undefined ? null : (missed.seenAt - sleptAt) / 1_000,
      ...again,
    }
  },
  expected: {
    'the others go on': ({ exchangesOfTheOthers }) => exchangesOfTheOthers > 5,
    'it is missed': ({ missedAfter }) => missedAfter !== null,
    'it is connected again within 20 s': ({ connectedAfter }) => connectedAfter < 20,
    'it exchanges again within two minutes': ({ exchangesAfter }) => exchangesAfter < 120,
  },
}

/** A machine changes networks. */
export const move = {
  name: 'move',
  about: 'one of three machines gets another address, its old one is gone, and nobody tells anybody',
  limit: 900,
  async run(lab) {
    const { signal, topology } = lab
    const all = await three(lab)
    const { traveller } = all
    const address = topology.renumber('c3', 99)
    const movedAt = Date.now()
    const again = await back(all, movedAt, signal)
    const announced = await until(
      'the new address in its link',
      90,
      async () => (await traveller.status()).link.includes(address),
      signal,
    )
    return { ...again, announced, announcedWithin: (Date.now() - movedAt) / 1_000 }
  },
  expected: {
    'it exchanges again within two minutes': ({ exchangesAfter }) => exchangesAfter < 120,
    'its link has the new address': ({ announced }) => announced,
  },
}
