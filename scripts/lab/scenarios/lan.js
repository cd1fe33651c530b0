import { learns, losses, ready, trainTogether, writeRun } from '../training.js'

/** A peer that is nowhere: the link has to name one, and the way to the run must be found without it. */
const NOBODY = '/ip4/10.1.0.99/tcp/9/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'

/** Two machines in one home find each other by mDNS. */
export const lan = {
  name: 'lan',
  about: 'two machines in one subnet find each other by mDNS; the link names no address that is of use',
  limit: 900,
  async run({ crew, folder, signal }) {
    const first = await ready(crew.start('first', 'a1', ['start', writeRun(folder), '--mdns']), { signal })
    const link = `starling://${first.ready.run}?peer=${NOBODY}`
    const since = Date.now()
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
