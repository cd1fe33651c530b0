import { learns, losses, ready, trainTogether, writeRun } from '../training.js'

const RATE = '10mbit'
const BITS_PER_SECOND = 10_000_000
const LOSS = 0.05
/** Delay each way where the kernel has netem, ms. */
const DELAY = 20

/** A thin and lossy line. */
export const slow = {
  name: 'slow',
  about:
    'links of 10 Mbit/s with 5 % of the packets lost, between two public machines, with gpt-nano (0.82 M parameters)',
  limit: 900,
  async run({ topology, crew, folder, signal }) {
    let delayed = false
    for (const host of ['c1', 'c2']) {
      delayed = topology.shape(host, { rate: RATE, delay: DELAY })
      topology.lose(host, LOSS)
    }
    const run = writeRun(folder, { model: { preset: 'gpt-nano' }, strategy: { name: 'noloco', innerSteps: 20 } })
    const first = await ready(crew.start('first', 'c1', ['start', run, ...topology.publicly('c1'), '--threads', '1']), {
      signal,
    })
    const since = Date.now()
    const second = await ready(
      crew.start('second', 'c2', ['join', first.ready.link, ...topology.publicly('c2'), '--threads', '1']),
      { signal },
    )
    const { firstExchange } = await trainTogether(first, second, { since, signal, seconds: 240, times: 5 })
    await learns(second, { signal, seconds: 240 })
    const done = second.own('exchange')
    const packets = topology.lost('c2')
    const bytes = done.map(({ bytesReceived }) => bytesReceived)
    return {
      joined: second.readyAfter,
      firstExchange,
      delay: delayed ? DELAY : 0,
      share: packets.dropped / packets.packets,
      packets: packets.packets,
      exchanges: done.length,
      skipped: second.own('exchange-skipped').length,
      secondsPerExchange: done.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / done.length / 1_000,
      // What an exchange takes at least: its bytes, in both directions at once.
      leastSeconds: ((bytes.reduce((sum, one) => sum + one, 0) / bytes.length) * 8) / BITS_PER_SECOND,
      ...losses(second),
    }
  },
  expected: {
    'packets really were lost': ({ share, packets }) => packets > 1_000 && share > LOSS / 2 && share < LOSS * 2,
    'the line really was thin': ({ secondsPerExchange, leastSeconds }) => secondsPerExchange > leastSeconds * 0.8,
    'they exchange': ({ exchanges }) => exchanges >= 5,
    'the loss falls': ({ firstLoss, lastLoss }) => lastLoss < firstLoss,
  },
}
