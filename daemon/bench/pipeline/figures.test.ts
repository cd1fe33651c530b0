import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics, idleSources } from '../../metrics/index.ts'
import { between, readFigures } from './figures.ts'

describe("a node's figures", () => {
  it('are the growth of what its metrics say', async () => {
    let asked = {
      'pipeline-forward': { questions: 1, milliseconds: 100 },
      'blob-chunk': { questions: 1, milliseconds: 9_000 },
    }
    let sent = 1_000
    const metrics = createMetrics({
      ...idleSources,
      traffic: () => ({ sent: { wire: sent, 'ask:pipeline-forward': 5 }, received: { wire: 7 }, asked }),
      members: () => 2,
      connections: () => 1,
    })
    const step = { kind: 'step', loss: 1, gradientNorm: 1, learningRate: 1, milliseconds: 1, samples: 1 } as const
    try {
      metrics.stage('forward', 400)
      metrics.observe({ ...step, step: 4 })
      const before = readFigures((await metrics.text()).text, 1_000)
      asked = { ...asked, 'pipeline-forward': { questions: 3, milliseconds: 350 } }
      sent = 4_500
      metrics.stage('forward', 600)
      metrics.stage('step', 250)
      metrics.stage('logits', 5_000)
      metrics.observe({ ...step, step: 7 })
      const span = between(before, readFigures((await metrics.text()).text, 3_500))
      assert.deepEqual(
        Object.entries(span).map(([key, value]) => [key, Math.round(value * 1_000)]),
        [
          ['seconds', 2_500],
          ['steps', 3_000],
          ['work', 850],
          ['transfer', 250],
          ['sent', 3_500_000],
        ],
      )
    } finally {
      metrics.stop()
    }
  })
})
