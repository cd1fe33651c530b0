import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../bin/starling.js', import.meta.url))

/** Small enough that a round takes a fraction of a second. */
const RUN = `name: tiny
model: { architecture: decoder, context: 16, layers: 1, width: 16, heads: 2, hidden: 32 }
data: { source: stories, bytes: 40000 }
training: { batch: 4, steps: STEPS, evaluateEvery: 100 }
strategy: { name: noloco, innerSteps: 25 }
`

/** Steps of the run in which two peers are to meet. */
const STEPS_TOGETHER = 1_200

/** Milliseconds for anything that is waited for. */
const PATIENCE = 90_000

interface Line {
  kind: string
  [key: string]: unknown
}

interface PeerLine {
  name: string
  state: string
  step: number
  validationLoss: number | null
  bytesSent: number
  restarts: number
}

/** A starling command with --json whose lines are kept. */
class Running {
  readonly lines: Line[] = []
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  private rest = ''
  private errors = ''

  constructor(folder: string, args: readonly string[]) {
    this.child = spawn(process.execPath, [PROGRAM, ...args, '--json'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (this.rest + chunk).split('\n')
      this.rest = parts.pop() ?? ''
      for (const part of parts) this.lines.push(JSON.parse(part) as Line)
    })
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.errors = (this.errors + chunk).slice(-10_000)
    })
    this.exit = new Promise((resolve) => this.child.on('close', resolve))
  }

  /** The first line for which `test` is true, now or later. */
  async line(what: string, test: (line: Line) => boolean): Promise<Line> {
    const deadline = Date.now() + PATIENCE
    for (;;) {
      const found = this.lines.find(test)
      if (found !== undefined) return found
      if (Date.now() > deadline || this.child.exitCode !== null)
        throw new Error(`Never saw ${what}; last: ${JSON.stringify(this.lines.at(-1))}\n${this.errors}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Waits for the end; the last line. */
  async summary(): Promise<Line> {
    assert.equal(await this.exit, 0, this.errors)
    const last = this.lines.at(-1)
    assert.equal(last?.kind, 'summary')
    return last as Line
  }
}

const kept: string[] = []
after(() => {
  for (const folder of kept) rmSync(folder, { recursive: true, force: true })
})

function stage(steps: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'starling-swarm-'))
  kept.push(folder)
  writeFileSync(join(folder, 'run.yaml'), RUN.replace('STEPS', String(steps)))
  return folder
}

describe('starling swarm', { timeout: 300_000 }, () => {
  it('trains with processes of its own, merges, and leaves a model that can be used', async () => {
    // Several times as much work as the second peer has with its start, or the first one has finished before they meet.
    const folder = stage(STEPS_TOGETHER)
    const swarm = new Running(folder, ['swarm', 'run.yaml', '--peers', '2', '--local', '--port', '0'])
    const ready = await swarm.line('ready', ({ kind }) => kind === 'ready')
    assert.match(String(ready.page), /^http:\/\/127\.0\.0\.1:\d+\/$/)
    assert.match(String(ready.link), /^starling:\/\/bafy/)
    await swarm.line('an exchange', ({ kind }) => kind === 'exchange')
    const summary = await swarm.summary()
    const peers = summary.peers as PeerLine[]
    assert.deepEqual(
      peers.map(({ name, state, step }) => [name, state, step]),
      [
        ['peer-1', 'finished', STEPS_TOGETHER],
        ['peer-2', 'finished', STEPS_TOGETHER],
      ],
    )
    const merged = summary.merged as { path: string; replicas: number; validationLoss: number; disagreement: number }
    assert.equal(merged.replicas, 2)
    assert.ok(merged.validationLoss < Math.log(256) - 1, `it learned: ${merged.validationLoss}`)

    // What the run said of its model is what others read in the files.
    const evaluated = await new Running(folder, ['evaluate', merged.path]).summary()
    assert.ok(
      Math.abs((evaluated.loss as number) - merged.validationLoss) < 1e-3,
      `${evaluated.loss} against ${merged.validationLoss}`,
    )
    const generated = await new Running(folder, [
      'generate',
      '.starling/runs/tiny-1',
      '--prompt',
      'One',
      '--tokens',
      '20',
    ]).summary()
    assert.equal(typeof generated.text, 'string')
    const inspected = await new Running(folder, ['inspect', merged.path]).summary()
    assert.equal(inspected.intact, true)
    const weights = join(merged.path, 'model.safetensors')
    const bytes = readFileSync(weights)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1)
    writeFileSync(weights, bytes)
    const damaged = new Running(folder, ['inspect', merged.path])
    assert.equal(await damaged.exit, 2)
    assert.match(String(damaged.lines.at(-1)?.message), /does not fit its hash/)
  })

  it('survives a killed and a suspended peer, stops cleanly when interrupted, and goes on with --resume', async () => {
    const folder = stage(30_000)
    const swarm = new Running(folder, ['swarm', 'run.yaml', '--peers', '3', '--local', '--port', '0'])
    await swarm.line(
      'an exchange of each peer',
      () => new Set(swarm.lines.filter(({ kind }) => kind === 'exchange').map(({ name }) => name)).size === 3,
    )
    await swarm.line('a checkpoint of the second peer', ({ kind, name }) => kind === 'checkpoint' && name === 'peer-2')
    process.kill(pidOf(join(folder, '.starling/runs/tiny-1/peer-2')), 'SIGKILL')
    const died = await swarm.line('the death', ({ kind }) => kind === 'process-died')
    assert.equal(died.name, 'peer-2')
    await swarm.line('its return', ({ kind, name }) => kind === 'process-restarted' && name === 'peer-2')
    const seen = swarm.lines.length
    await swarm.line(
      'an exchange after its return',
      (line) => swarm.lines.indexOf(line) >= seen && line.kind === 'exchange' && line.name === 'peer-2',
    )

    const suspended = pidOf(join(folder, '.starling/runs/tiny-1/peer-3'))
    process.kill(suspended, 'SIGSTOP')
    try {
      await silence(join(folder, '.starling/runs/tiny-1'), 'peer-3')
    } finally {
      process.kill(suspended, 'SIGCONT')
    }

    const interrupted = Date.now()
    swarm.child.kill('SIGINT')
    const summary = await swarm.summary()
    assert.ok(Date.now() - interrupted < 10_000, 'a stop takes seconds')
    const before = summary.peers as PeerLine[]
    assert.ok(before.every(({ state, step }) => state === 'stopped' && step > 0))
    assert.equal(before[1]?.restarts, 1)
    assert.equal(existsSync(join(folder, '.starling/runs/tiny-1/api.json')), false)

    const resumed = new Running(folder, ['swarm', '--resume', '--local', '--port', '0'])
    for (const peer of ['peer-1', 'peer-2', 'peer-3'])
      await resumed.line(`${peer} going on`, ({ kind, name }) => kind === 'resumed' && name === peer)
    await resumed.line(
      'training',
      ({ kind, name, step }) => kind === 'step' && name === 'peer-1' && (step as number) > (before[0]?.step ?? 0),
    )
    const stop = new Running(folder, ['stop'])
    assert.equal(await stop.exit, 0)
    await resumed.summary()
  })
})

/** Waits until the swarm's own list of peers says that this one has been silent for two seconds. */
async function silence(swarmFolder: string, name: string): Promise<void> {
  const { url } = JSON.parse(readFileSync(join(swarmFolder, 'api.json'), 'utf8')) as { url: string }
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const peers = (await (await fetch(new URL('api/peers', url))).json()) as { name?: string; silentFor: number }[]
    if (peers.some((peer) => peer.name === name && peer.silentFor > 2_000)) return
    if (Date.now() > deadline) throw new Error(`${name} never counted as silent: ${JSON.stringify(peers)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Process of the node on a data folder. */
function pidOf(dataFolder: string): number {
  return (JSON.parse(readFileSync(join(dataFolder, 'api.json'), 'utf8')) as { pid: number }).pid
}
