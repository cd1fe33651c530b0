import { learns, losses, ready, trainTogether, writeRun } from '../training.js'

/** Two machines in one home find each other by mDNS. */
export const lan = {
  name: 'lan',
  about: 'two machines in one subnet find each other by mDNS; the link is the name of the run alone',
  limit: 900,
  async run({ crew, folder, signal }) {
    const first = await ready(crew.start('first', 'a1', ['start', writeRun(folder), '--mdns']), { signal })
    const since = Date.now()
    const link = `starling://${first.ready.run}`
    const second = await ready(crew.start('second', 'a2', ['join', link, '--mdns']), { signal })
    const { firstExchange } = await trainTogether(first, second, { since, signal })
    await learns(second, { signal })
    return { joined: second.readyAfter, firstExchange, ...losses(second) }
  },
  expected: {
    'the newcomer trains within two minutes': ({ firstExchange }) => firstExchange < 120,
    'its loss falls': ({ firstLoss, lastLoss }) => lastLoss < firstLoss,
  },
}
