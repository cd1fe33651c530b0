import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { quietLog } from '../log/index.ts'
import { serveApi } from './server.ts'
import { findChromium, openPage } from './testing/browser.ts'
import { createFakeNode, FAKE_PEERS } from './testing/fake-node.ts'

const skip = findChromium() === undefined ? 'There is no Chromium on this machine to show the page in' : false

describe('the page', { skip, timeout: 120_000 }, () => {
  it('draws 5,000 events, escapes what peers write, fits a phone, and comes back after the node did', async () => {
    const node = createFakeNode()
    let server = await serveApi({ host: '127.0.0.1', port: 0 }, { node, log: quietLog })
    const [self, other] = FAKE_PEERS as [string, string]
    for (let step = 1; step <= 1_200; step += 1) {
      for (const peer of [self, other]) {
        node.emit(
          { kind: 'step', step, loss: 5 / step, gradientNorm: 1, learningRate: 1, milliseconds: 1, samples: 1 },
          peer,
        )
        node.emit({ kind: 'exchange-skipped', round: step, reason: 'partner-late' }, peer)
      }
    }
    node.emit({ kind: 'connected', remote: other })
    node.emit({
      kind: 'exchange',
      round: 9,
      partner: other,
      disagreement: 0.01,
      codingError: 0,
      bytesSent: 1_000,
      bytesReceived: 1_000,
      milliseconds: 5,
    })
    node.emit({ kind: 'sample', step: 5, prompt: 'p', text: 'p<img src=x onerror="window.broken=1"><b id=bold>x</b>' })
    const page = await openPage(server.url, { width: 390, height: 800 })
    try {
      await page.until('document.querySelectorAll("#peers tr").length === 2')
      await page.until('document.querySelector("#loss canvas")')
      await page.until('document.querySelector("#ring .link") && document.querySelector("#ring .talk")')
      assert.equal(await page.evaluate('document.querySelector("#samples").textContent.includes("<b id=bold>")'), true)
      assert.equal(await page.evaluate('window.broken === undefined && document.getElementById("bold") === null'), true)
      assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true)
      assert.equal(
        await page.evaluate('document.querySelector("#reasons").textContent.includes("the partner was late")'),
        true,
      )
      await page.evaluate('document.querySelector("[data-axis=seconds]").click()')
      assert.deepEqual(page.errors, [])

      const port = Number(new URL(server.url).port)
      await server.close()
      await page.until('document.querySelector("#live").textContent === "reconnecting"')
      node.setStatus({ runName: 'second life' })
      server = await serveApi({ host: '127.0.0.1', port }, { node, log: quietLog })
      await page.until(
        'document.querySelector("#live").textContent === "live" && document.querySelector("#run-name").textContent === "second life"',
      )
    } finally {
      await page.close()
      await server.close()
    }
  })

  it('shows sets of contributions and who holds the same, where a run has such', async () => {
    const node = createFakeNode()
    const server = await serveApi({ host: '127.0.0.1', port: 0 }, { node, log: quietLog })
    FAKE_PEERS.forEach((peer, index) => {
      const set = {
        contributions: 4_096 + (index === 3 ? 16 : 0),
        authors: 4,
        digest: (index === 3 ? 'b' : 'a').repeat(16),
      }
      node.emit({ kind: 'contributions', ...set, contributions: 2_048, added: 2_048 }, peer, Date.now() - 9_000)
      node.emit({ kind: 'contributions', ...set, added: 2_048 }, peer)
    })
    node.emit({ kind: 'excluded', step: 12, own: false, reason: 'two bytes', about: FAKE_PEERS[2] as string })
    const page = await openPage(server.url, { width: 390, height: 800 })
    try {
      await page.until('document.querySelectorAll("#peers tr").length === 4')
      await page.until('document.querySelector("#t-exchanges").textContent === "3 of 4"')
      assert.equal(await page.evaluate('document.querySelector("#t-disagreement").textContent'), '4,112')
      assert.equal(await page.evaluate('document.querySelectorAll("#peers .tag.good").length'), 3)
      assert.match(
        String(await page.evaluate('document.querySelector("#timeline").textContent')),
        /excluded .* from step 12/,
      )
      await page.until('document.querySelector("#disagreement canvas")')
      assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true)
      assert.deepEqual(page.errors, [])
    } finally {
      await page.close()
      await server.close()
    }
  })

  it('shows the stages of a pipeline, who holds them, and what a death did to the loss', async () => {
    const node = createFakeNode()
    const server = await serveApi({ host: '127.0.0.1', port: 0 }, { node, log: quietLog })
    const [self, second, third, fourth] = FAKE_PEERS as [string, string, string, string]
    const flow = { microbatches: 8, inFlight: 3, retries: 0, bytesSent: 1, bytesReceived: 1 }
    const holders = [second, third, fourth].map((peer, i) => ({ stage: i + 1, peers: [peer] }))
    node.emit({ kind: 'pipeline', step: 7, ...flow, holders }, self, Date.now() - 4_000)
    node.emit({ kind: 'stage-lost', stage: 2, about: third, step: 8, reason: 'disconnected', others: 0 })
    const cost = { from: [second, fourth], degraded: false, bytes: 400_000, milliseconds: 300 }
    const page = await openPage(server.url, { width: 390, height: 800, dark: true })
    try {
      await page.until('document.querySelectorAll("#stages li").length > 0')
      await page.until('document.querySelector("#t-disagreement").textContent === "2 of 3"')
      assert.equal(await page.evaluate('document.querySelectorAll("#stages li").length'), 5)
      assert.match(
        String(await page.evaluate('document.querySelector("#stages .lost").textContent')),
        /stage 2nobody for/,
      )
      node.emit({ kind: 'stage-taken', stage: 2, step: 7, how: 'average', ...cost }, second)
      const recovered = { how: 'average', step: 8, lossBefore: 2.31, lossAfter: 2.35, milliseconds: 412 } as const
      node.emit({ kind: 'stage-recovered', stage: 2, about: second, ...recovered })
      node.emit({ kind: 'pipeline', step: 9, ...flow, retries: 3, holders })
      await page.until('document.querySelector("#t-disagreement").textContent === "3 of 3"')
      assert.match(String(await page.evaluate('document.querySelector("#stages").textContent')), /loss 2.310 → 2.350/)
      assert.match(
        String(await page.evaluate('document.querySelector("#timeline").textContent')),
        /rebuilt from stages 1 and 3; validation loss 2.310 → 2.350/,
      )
      await page.until('document.querySelector("#disagreement canvas")')
      assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true)
      assert.deepEqual(page.errors, [])
    } finally {
      await page.close()
      await server.close()
    }
  })
})
