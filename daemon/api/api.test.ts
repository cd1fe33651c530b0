import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { StarlingError } from '../../protocols/index.ts'
import { quietLog } from '../log/index.ts'
import type { NodeEvent } from '../types.ts'
import { callApi, followEvents } from './client.ts'
import { endedWithoutStop, findEndpoints, readEndpoint, writeEndpoint } from './endpoint.ts'
import { type ApiOptions, serveApi } from './server.ts'
import { createFakeNode, FAKE_PEERS } from './testing/fake-node.ts'

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

function ask(
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      url,
      { method: options.method ?? 'GET', headers: options.headers ?? {}, agent: false },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
      },
    )
    asked.on('error', reject)
    asked.end(options.body)
  })
}

async function serve(options: Partial<ApiOptions> = {}) {
  const node = createFakeNode()
  const server = await serveApi({ host: '127.0.0.1', port: 0, ...options }, { node, log: quietLog })
  return { node, server, url: server.url }
}

/** Reads a stream until `enough` says so, then hangs up. */
async function readStream(
  url: string,
  headers: Record<string, string>,
  enough: (text: string) => boolean,
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the stream said too little')), 10_000)
    const asked = request(url, { headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (!enough(text)) return
        clearTimeout(timer)
        asked.destroy()
        resolve(text)
      })
      response.on('error', () => {}) // our own hanging up
    })
    asked.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    asked.end()
  })
}

const step = (number: number) =>
  ({ kind: 'step', step: number, loss: 1, gradientNorm: 1, learningRate: 1, milliseconds: 1, samples: 1 }) as const

describe('the API', () => {
  it('answers status, peers, events and metrics', async () => {
    const { node, server, url } = await serve()
    node.emit(step(1))
    node.emit(step(2))
    assert.equal(JSON.parse((await ask(`${url}api/status`)).text).peer, FAKE_PEERS[0])
    assert.deepEqual(JSON.parse((await ask(`${url}api/peers`)).text), [])
    const events = JSON.parse((await ask(`${url}api/events?after=1`)).text) as NodeEvent[]
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      [2],
    )
    const metrics = await ask(`${url}metrics`)
    assert.match(metrics.text, /starling_step 7/)
    assert.match(String(metrics.headers['content-type']), /^text\/plain/)
    await server.close()
  })

  it('answers why it waits, and the page, while the node has no manifest yet', async () => {
    const { node, server, url } = await serve()
    const early = new StarlingError('not-ready', 'no manifest yet')
    node.status = () => {
      throw early
    }
    assert.equal((await ask(`${url}api/status`)).status, 409)
    const [explained] = JSON.parse((await ask(`${url}api/explain`)).text)
    assert.equal(explained.state, 'training')
    const text = await readStream(`${url}api/events/stream`, {}, (seen) => seen.includes('event: ready'))
    assert.match(text, /event: snapshot\ndata: \{"explained":\[/)
    await server.close()
  })

  it('says without a token whether it lives, and nothing else', async () => {
    const node = createFakeNode()
    const server = await serveApi({ host: '127.0.0.1', port: 0, token: 'secret' }, { node, log: quietLog })
    assert.deepEqual((await ask(`${server.url}api/health`)).text, '{"healthy":true}')
    for (const path of ['api/health?x=1', 'api/status', 'api/explain'])
      assert.equal((await ask(server.url + path)).status, 401)
    node.setExplanation({ state: 'stopping', tone: 'warn', because: 'x', since: 0, advice: [] })
    assert.equal((await ask(`${server.url}api/health`)).status, 503)
    await server.close()
  })

  it('serves the page and its modules, and nothing outside', async () => {
    const { server, url } = await serve()
    const page = await ask(url)
    assert.equal(page.status, 200)
    assert.match(String(page.headers['content-security-policy']), /script-src 'self'/)
    assert.equal((await ask(`${url}view/index.js`)).status, 200)
    for (const path of [
      '..%2fmain.js',
      'view/..%2fapi/server.js',
      '.tsbuildinfo',
      'api/nothing',
      'view/run-view.d.ts',
    ]) {
      assert.ok([403, 404].includes((await ask(url + path)).status), path)
    }
    await server.close()
  })

  it('turns mistakes into status codes with one message', async () => {
    const { server, url } = await serve()
    const bad = await ask(`${url}api/events?after=x`)
    assert.equal(bad.status, 400)
    assert.equal(JSON.parse(bad.text).error.code, 'request-invalid')
    const json = { 'content-type': 'application/json' }
    assert.equal(
      (await ask(`${url}api/generate`, { method: 'POST', headers: json, body: '{"tokens":-1}' })).status,
      400,
    )
    assert.equal(
      (await ask(`${url}api/generate`, { method: 'POST', headers: json, body: '{"nonsense":1}' })).status,
      400,
    )
    assert.equal((await ask(`${url}api/generate`, { method: 'POST', headers: json, body: '{' })).status, 400)
    assert.equal(
      (await ask(`${url}api/generate`, { method: 'POST', headers: json, body: `{"prompt":"${'x'.repeat(100_000)}"}` }))
        .status,
      413,
    )
    assert.equal((await ask(`${url}nothing`)).status, 404)
    assert.equal((await ask(`${url}api/stop`)).status, 404)
    await server.close()
  })

  it('keeps the details of a failure to itself', async () => {
    const { node, server, url } = await serve()
    node.generate = async () => {
      throw new TypeError('secret path /home/someone')
    }
    const answer = await ask(`${url}api/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    assert.equal(answer.status, 500)
    assert.doesNotMatch(answer.text, /secret/)
    await server.close()
  })

  it('refuses strange hosts (DNS rebinding) and pages of other sites', async () => {
    const { server, url } = await serve()
    const at = async (headers: Record<string, string>): Promise<number> =>
      (await ask(`${url}api/status`, { headers })).status
    assert.equal(await at({ host: 'evil.example' }), 403)
    assert.equal(await at({ host: 'evil.example:80' }), 403)
    assert.equal(await at({ host: '127.0.0.1.evil.example' }), 403)
    assert.equal(await at({ host: 'localhost:1234' }), 200)
    assert.equal(await at({ host: '[::1]:1234' }), 200)
    assert.equal(await at({ origin: 'http://evil.example' }), 403)
    assert.equal(await at({ origin: 'null' }), 403)
    assert.equal(await at({ origin: url.slice(0, -1) }), 200)
    await server.close()
  })

  it('asks for the token when it has one, and lets the page keep it in a cookie', async () => {
    const { server, url } = await serve({ token: 'correct-horse' })
    assert.equal((await ask(`${url}api/status`)).status, 401)
    assert.equal((await ask(`${url}api/status`, { headers: { authorization: 'Bearer wrong' } })).status, 401)
    assert.equal((await ask(`${url}api/status`, { headers: { authorization: 'Bearer correct-horse' } })).status, 200)
    assert.equal((await ask(`${url}api/status?token=correct-horse`)).status, 401)
    const page = await ask(server.page)
    assert.equal(page.status, 302)
    const cookie = String(page.headers['set-cookie'])
    assert.match(cookie, /HttpOnly; SameSite=Strict/)
    assert.equal((await ask(`${url}api/status`, { headers: { cookie: cookie.split(';')[0] as string } })).status, 200)
    await server.close()
  })

  it('makes up a token when it listens to others', async () => {
    const { server } = await serve({ host: '0.0.0.0' })
    assert.match(server.token ?? '', /^[\w-]{32}$/)
    assert.equal((await ask(`${server.url}api/status`)).status, 401)
    await server.close()
  })

  it('names a port that is in use', async () => {
    const { server } = await serve()
    const port = Number(new URL(server.url).port)
    await assert.rejects(serve({ port }), { code: 'port-in-use', message: new RegExp(String(port)) })
    await server.close()
  })

  it('stops the node after having answered', async () => {
    const { node, server, url } = await serve()
    const stopped = new Promise<string>((resolve) => {
      node.stop = async (reason) => resolve(reason)
    })
    assert.equal((await ask(`${url}api/stop`, { method: 'POST' })).status, 202)
    assert.match(await stopped, /API/)
    await server.close()
  })
})

describe('the event stream', () => {
  it('begins with a snapshot and all events, then goes on', async () => {
    const { node, server, url } = await serve()
    node.emit(step(1))
    const text = readStream(`${url}api/events/stream`, {}, (read) => read.includes('"step":2'))
    setTimeout(() => node.emit(step(2)), 100)
    const read = await text
    assert.match(read, /event: snapshot\ndata: \{"status"/)
    assert.ok(read.indexOf('"step":1') < read.indexOf('event: ready'))
    assert.ok(read.indexOf('event: ready') < read.indexOf('"step":2'))
    await server.close()
  })

  it('goes on after the last event that was seen', async () => {
    const { node, server, url } = await serve()
    for (let number = 1; number <= 5; number += 1) node.emit(step(number))
    const first = await readStream(`${url}api/events/stream`, {}, (read) => read.includes('event: ready'))
    const id = [...first.matchAll(/^id: (.*)$/gm)][2]?.[1] as string
    const again = await readStream(`${url}api/events/stream`, { 'last-event-id': id }, (read) =>
      read.includes('event: ready'),
    )
    assert.deepEqual(
      [...again.matchAll(/"step":(\d+),"loss"/g)].map(([, number]) => number),
      ['4', '5'],
    )
    assert.doesNotMatch(again, /event: reset/)
    await server.close()
  })

  it('tells a reader of an earlier process to start again', async () => {
    const { node, server, url } = await serve()
    node.emit(step(1))
    const text = await readStream(`${url}api/events/stream`, { 'last-event-id': 'earlier-400' }, (read) =>
      read.includes('event: ready'),
    )
    assert.match(text, /event: reset/)
    assert.match(text, /"step":1/)
    await server.close()
  })

  it('ends promptly when the node stops, open streams included', async () => {
    const { server, url } = await serve()
    let closed: Promise<void> | undefined
    const ended = new Promise<void>((resolve) => {
      const asked = request(`${url}api/events/stream`, (response) => {
        response.resume()
        response.on('end', resolve)
        response.on('error', () => resolve())
        closed = server.close()
      })
      asked.end()
    })
    await ended
    await closed
    await assert.rejects(ask(url), { code: 'ECONNREFUSED' })
  })

  it('serves a bounded number of readers', async () => {
    const { server, url } = await serve()
    const open = await Promise.all(
      Array.from(
        { length: 33 },
        () =>
          new Promise<{ status: number; destroy(): void }>((resolve, reject) => {
            const asked = request(`${url}api/events/stream`, (response) => {
              response.resume()
              response.on('error', () => {}) // our own hanging up
              resolve({ status: response.statusCode ?? 0, destroy: () => asked.destroy() })
            })
            asked.on('error', reject)
            asked.end()
          }),
      ),
    )
    assert.equal(open.filter(({ status }) => status === 200).length, 32)
    assert.equal(open.filter(({ status }) => status === 429).length, 1)
    for (const stream of open) stream.destroy()
    await server.close()
  })

  it('is followed by the command line', async () => {
    const { node, server, url } = await serve()
    for (let number = 1; number <= 3; number += 1) node.emit(step(number))
    const stop = new AbortController()
    const seen: number[] = []
    await followEvents(
      { url },
      1,
      (event) => {
        seen.push(event.sequence)
        if (event.sequence === 2) node.emit(step(4))
        if (event.sequence === 4) stop.abort()
      },
      stop.signal,
    )
    assert.deepEqual(seen, [2, 3, 4])
    await server.close()
  })
})

describe('the client', () => {
  it('says who does not answer', async () => {
    const { server, url } = await serve()
    await server.close()
    await assert.rejects(callApi({ url }, 'GET', 'api/status'), { code: 'node-not-running' })
  })
})

describe('the endpoint file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'starling-endpoint-'))
  after(() => rmSync(folder, { recursive: true }))

  it('is private, names the API while it is served, and goes with it', async () => {
    const { server } = await serve({ dataFolder: folder, token: 'secret' })
    assert.equal(statSync(join(folder, 'api.json')).mode & 0o777, 0o600)
    const endpoint = readEndpoint(folder)
    assert.equal(endpoint?.url, server.url)
    assert.equal(endpoint?.token, 'secret')
    assert.equal(
      findEndpoints(tmpdir()).some((found) => found.dataFolder === folder),
      true,
    )
    await server.close()
    assert.equal(readEndpoint(folder), undefined)
  })

  it('counts for nothing when its process is gone or it is damaged', () => {
    // No process has this id: it is above the largest that Linux gives.
    assert.equal(endedWithoutStop(folder), false)
    writeEndpoint(folder, { url: 'http://127.0.0.1:1/', pid: 2 ** 22 + 1, startedAt: 0 })
    assert.equal(endedWithoutStop(folder), true)
    assert.equal(readEndpoint(folder), undefined)
    writeFileSync(join(folder, 'api.json'), '{"url":')
    assert.equal(readEndpoint(folder), undefined)
  })
})
