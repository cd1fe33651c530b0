import { pause } from '../node.js'
import { bootstrapAddress, exchanges, ready, startBootstrap, trainTogether, writeRun } from '../training.js'

/** How long the bootstrap node is away, s. */
const AWAY = 40

/** The one node that is not a peer goes away and comes back. */
export const bootstrap = {
  name: 'bootstrap',
  about: `the bootstrap node is killed and started again ${AWAY} s later; then somebody joins from behind a router`,
  limit: 900,
  async run(lab) {
    const { topology, crew, folder, signal } = lab
    const relay = await startBootstrap(lab)
    const flags = ['--bootstrap', bootstrapAddress(topology), '--threads', '1']
    const first = await ready(crew.start('first', 'a1', ['start', writeRun(folder), ...flags]), { signal })
    const join = (name, host) => crew.start(name, host, ['join', first.ready.link, ...flags])
    const second = await ready(join('second', 'b1'), { signal })
    await trainTogether(first, second, { since: 0, signal })

    await relay.kill()
    const killedAt = Date.now()
    await pause(AWAY, signal)
    const exchangesWithout = exchanges(first, second, killedAt + 5_000).length
    const stepsWithout = [first, second].map(
      (node) => node.own('step').filter(({ seenAt }) => seenAt >= killedAt + 5_000).length,
    )
    await startBootstrap(lab)
    const backAt = Date.now()
    const late = await ready(join('late', 'a2'), { signal })
    const { firstExchange } = await trainTogether(second, late, { since: backAt, signal, times: 1 })
    return {
      exchangesWithout,
      everybodyTrained: stepsWithout.every((count) => count > AWAY / 4),
      joined: late.readyAfter,
      firstExchange,
    }
  },
  expected: {
    'everybody goes on training without it': ({ everybodyTrained }) => everybodyTrained,
    'somebody from behind a router can join once it is back': ({ joined }) => joined < 240,
    'and trains with those behind the other router': ({ firstExchange }) => firstExchange > 0,
  },
}
