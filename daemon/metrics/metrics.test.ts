import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createMetrics, type Metrics } from './metrics.ts'

describe('metrics', () => {
  let metrics: Metrics
  before(() => {
    const asked = { 'blob-chunk': { questions: 3, milliseconds: 1_500 } }
    const traffic = () => ({ sent: { wire: 10, 'ask:blob-chunk': 7 }, received: { wire: 20 }, asked })
    const network = () => ({
      links: [
        { peer: 'a', direction: 'inbound' as const, kind: 'relay' as const, address: '' },
        { peer: 'b', direction: 'inbound' as const, kind: 'relay' as const, address: '' },
      ],
      bootstrap: [
        { address: 'x', connected: true, failures: 0 },
        { address: 'y', connected: false, failures: 3, error: 'nobody listens there' },
      ],
      dials: 5,
      dialFailures: 2,
      rejected: { 'not-admitted': 7 },
      bans: 1,
      reachability: { state: 'private' as const, addresses: [], relays: ['r'] },
      relayed: { sent: 11, received: 12 },
    })
    const info = { peer: 'p', name: 'n', run: 'r', version: '0.1.0' }
    metrics = createMetrics({ traffic, members: () => 4, connections: () => 3, network, info })
  })
  after(() => metrics.stop())

  it('count what happened, by reason and purpose, in the Prometheus format', async () => {
    const step = {
      kind: 'step',
      step: 9,
      loss: 1.5,
      gradientNorm: 1,
      learningRate: 0.1,
      milliseconds: 20,
      samples: 16,
    } as const
    metrics.observe(step)
    metrics.observe({ ...step, step: 10 })
    metrics.observe({ kind: 'exchange-skipped', round: 3, reason: 'partner-late' })
    metrics.observe({ kind: 'rejected', peer: 'x', what: 'tensor', reason: 'bad-tensor' })
    metrics.observe({ kind: 'rejected', peer: 'x', what: 'tensor', reason: 'bad-tensor' })
    metrics.observe({ kind: 'rejected', peer: 'x', what: 'connection', reason: 'not-admitted' })
    await metrics.text()
    metrics.observe({ kind: 'contributions', contributions: 48, authors: 3, digest: '0'.repeat(16), added: 16 })
    metrics.observe({ kind: 'excluded', peer: 'x', step: 4, own: false, reason: 'two bytes for one step' })
    const taken = { step: 3, degraded: false, bytes: 0, milliseconds: 1 }
    for (const stage of [0, 2, 3]) metrics.observe({ kind: 'stage-taken', stage, how: 'average', from: [], ...taken })
    metrics.observe({ kind: 'stage-left', stage: 2, step: 4 })
    metrics.observe({ kind: 'stage-lost', stage: 5, peer: 'x', step: 4, reason: 'silent', others: 0 })
    const recovered = { how: 'average', step: 4, lossBefore: 1, lossAfter: 2, milliseconds: 700 } as const
    metrics.observe({ kind: 'stage-recovered', stage: 5, peer: 'x', ...recovered })
    const flow = { step: 4, microbatches: 8, inFlight: 3, retries: 2, holders: [], bytesSent: 1, bytesReceived: 1 }
    metrics.observe({ kind: 'pipeline', ...flow })
    metrics.observe({ kind: 'pipeline', ...flow })
    metrics.stage('forward', 250)
    metrics.stage('forward', 500)
    const { contentType, text } = await metrics.text()
    assert.match(contentType, /text\/plain/)
    for (const line of [
      'starling_steps_total 2',
      'starling_step 10',
      'starling_loss{split="training"} 1.5',
      'starling_exchanges_skipped_total{reason="partner-late"} 1',
      'starling_rejects_total{reason="bad-tensor"} 2',
      'starling_traffic_bytes{purpose="ask:blob-chunk",direction="sent"} 7',
      'starling_contributions 48',
      'starling_authors 3',
      'starling_excluded_total 1',
      'starling_asks{method="blob-chunk"} 3',
      'starling_ask_seconds{method="blob-chunk"} 1.5',
      'starling_stage_seconds_total{operation="forward"} 0.75',
      'starling_stages_held 1',
      'starling_stages_lost_total{reason="silent"} 1',
      'starling_recovery_seconds_bucket{le="0.5",how="average"} 0',
      'starling_recovery_seconds_bucket{le="1",how="average"} 1',
      'starling_microbatches_total 16',
      'starling_microbatch_retries_total 4',
      'starling_microbatches_in_flight 3',
      'starling_members 4',
      'starling_connections 3',
      'starling_step_seconds_count 2',
      'starling_info{peer="p",name="n",run="r",version="0.1.0"} 1',
      'starling_rejects_total{reason="not-admitted"} 7',
      'starling_open_connections{direction="inbound",kind="relay"} 2',
      'starling_open_connections{direction="outbound",kind="direct"} 0',
      'starling_bootstrap_addresses{state="failing"} 1',
      'starling_dials_total{outcome="ok"} 3',
      'starling_dials_total{outcome="failed"} 2',
      'starling_bans 1',
      'starling_reachability{state="private"} 1',
      'starling_reachability{state="reachable"} 0',
      'starling_relay_reservations 1',
      'starling_relayed_bytes_total{direction="sent"} 11',
    ]) {
      assert.ok(text.split('\n').includes(line), line)
    }
    for (const help of text.split('\n').filter((line) => line.startsWith('# HELP'))) assert.match(help, /\.$/)
  })

  it('measure how long the event loop is held up', async () => {
    // The histogram needs a tick before and after the stall to see it.
    const tick = () => new Promise((resolve) => setTimeout(resolve, 20))
    await tick()
    metrics.resetEventLoop()
    await tick()
    const end = performance.now() + 60
    while (performance.now() < end);
    await tick()
    const { p50, p99, max } = metrics.eventLoop()
    assert.ok(max >= 40 && max >= p99 && p99 >= p50)
  })
})
