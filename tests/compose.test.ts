/** What the container files promise, as far as it can be read off them; docs/compose.md says how they are run. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { createBootstrapMetrics } from '../daemon/bootstrap/metrics.ts'
import { createMetrics, idleSources } from '../daemon/metrics/index.ts'
import { parseRun } from '../daemon/run/index.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

interface Service {
  image: string
  build?: unknown
  user?: string
  profiles?: string[]
  ports?: string[]
  volumes?: string[]
  entrypoint?: string[]
}
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const services = Object.entries(compose.services)
const dockerfile = read('Dockerfile')
const { version } = JSON.parse(read('package.json')) as { version: string }

/** The part of an interpolation that counts when its variable is not set. */
const withDefaults = (text: string): string => text.replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')

/** Two numbers at least: "20" or "latest" is something else next week. */
const PINNED = /:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$/

describe('container files', () => {
  it('name every foreign image by its version, and ours by that of the package', () => {
    const stages = [...dockerfile.matchAll(/^FROM (\S+)(?: AS (\S+))?$/gm)]
    const own = new Set(stages.map(([, , name]) => name))
    const bases = stages.map(([, image]) => image as string).filter((image) => !own.has(image))
    assert.ok(bases.length > 0)
    for (const image of [...bases, ...services.map(([, { image }]) => image)]) {
      assert.match(image, PINNED)
      if (image.startsWith('starling')) assert.ok(image.endsWith(`:${version}`), image)
    }
  })

  it('run as nobody special, and give the engine and its power to those only who are asked for by a profile', () => {
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
    assert.match(last, /^USER node$/m)
    assert.match(last, /^HEALTHCHECK /m)
    for (const [name, { volumes = [], profiles, user }] of services) {
      const powerful = volumes.some((volume) => volume.includes('docker.sock')) || user === 'root'
      assert.equal(powerful, profiles !== undefined, name)
    }
  })

  it('publish ports on this machine only, unless told otherwise', () => {
    const ports = services.flatMap(([, service]) => service.ports ?? [])
    assert.ok(ports.length > 0)
    for (const port of ports) assert.match(withDefaults(port), /^127\.0\.0\.1:\d+:\d+$/)
  })

  it('mount what there is', () => {
    const mounts = services
      .flatMap(([, { volumes = [] }]) => volumes)
      .map((volume) => withDefaults(volume).split(':')[0])
    for (const mount of mounts as string[]) {
      if (mount.startsWith('./')) assert.ok(existsSync(new URL(mount, root)), mount)
      else if (!mount.startsWith('/')) assert.ok(mount in compose.volumes, mount)
    }
  })

  it('hold a run that can be started', () => {
    const run = parseRun(read('docker/run.yaml'), 'run.yaml')
    assert.equal(run.manifest.admission.mode, 'open')
  })

  it('ask those for figures who are there, where they listen', () => {
    interface Job {
      job_name: string
      dns_sd_configs?: { names: string[]; port: number }[]
    }
    const { scrape_configs: jobs } = parse(read('docker/prometheus/prometheus.yml')) as { scrape_configs: Job[] }
    const named = jobs.flatMap((job) => job.dns_sd_configs ?? [])
    assert.deepEqual(named.flatMap(({ names }) => names).sort(), ['bootstrap', 'peer'])
    const exposed = /^EXPOSE .*\b(\d+)$/m.exec(dockerfile)?.[1]
    for (const { names, port } of named) {
      for (const name of names) assert.ok(name in compose.services, name)
      assert.equal(String(port), exposed)
    }
    assert.match(read('docker/peer.sh'), new RegExp(`--port ${exposed}\\b`))
  })

  it('show metrics that there are', () => {
    const metrics = createMetrics(idleSources)
    const ofBootstrap = createBootstrapMetrics(() => assert.fail('nobody asks for values here'))
    const known = new Set<string>()
    for (const registry of [metrics.registry, ofBootstrap]) {
      for (const { name, type } of registry.getMetricsAsArray() as unknown as { name: string; type: string }[]) {
        known.add(name)
        if (type === 'histogram') for (const part of ['bucket', 'sum', 'count']) known.add(`${name}_${part}`)
      }
    }
    metrics.stop()
    ofBootstrap.clear()
    interface Panel {
      title: string
      targets?: { expr: string }[]
    }
    const { panels } = JSON.parse(read('docker/grafana/dashboards/starling.json')) as { panels: Panel[] }
    const expressions = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })))
    assert.ok(expressions.length > 15)
    for (const { title, expr } of expressions) {
      const names = expr.match(/\bstarling_\w+/g) ?? []
      for (const name of names) assert.ok(known.has(name), `${title}: there is no metric ${name}`)
    }
  })

  it('refuse a bad setting in one line', async () => {
    const node = promisify(execFile)
    const refusal = async (script: string, env: Record<string, string>): Promise<unknown> =>
      node(process.execPath, [fileURLToPath(new URL(`docker/${script}`, root))], { env }).then(
        () => 'no refusal',
        ({ code, stderr }: { code: number; stderr: string }) => ({ code, lines: stderr.trim().split('\n').length }),
      )
    const once = { code: 2, lines: 1 }
    assert.deepEqual(await refusal('slow.js', { STARLING_RATE: '10 mbit; reboot' }), once)
    assert.deepEqual(await refusal('chaos.js', { STARLING_CHAOS_EVERY: '0' }), once)
  })
})
