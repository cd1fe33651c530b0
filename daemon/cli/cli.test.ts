import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { layoutOf, layoutTensors, writeSafetensors } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'
import { serveApi } from '../api/index.ts'
import { createFakeNode, FAKE_PEERS } from '../api/testing/fake-node.ts'
import { quietLog } from '../log/index.ts'
import { exitCodeOf, lineOf } from './errors.ts'
import { plain, table } from './output.ts'
import { programName } from './program.ts'

const PROGRAM = fileURLToPath(new URL('../../../bin/starling.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'starling-cli-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Result {
  code: number | null
  out: string
  err: string
}

/** Runs the program in the test's folder. */
function starling(...args: string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: folder, timeout: 60_000 })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

/** A user's mistake: exit code 2, nothing on standard output, one line that says what. */
async function assertMistake(args: string[], words: RegExp): Promise<void> {
  const { code, out, err } = await starling(...args)
  assert.equal(code, 2, `${args.join(' ')}: ${err}`)
  assert.match(err, words)
  assert.equal(err.trim().split('\n').length, 1, err)
  assert.match(err, /^starling: /)
  assert.equal(out, '')
}

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('help', { concurrency: 4 }, () => {
  it('lists every command', async () => {
    const { code, out } = await starling('--help')
    assert.equal(code, 0)
    for (const command of [
      'swarm',
      'init',
      'start',
      'join',
      'status',
      'peers',
      'events',
      'explain',
      'stop',
      'generate',
      'evaluate',
      'inspect',
      'replay',
      'doctor',
      'bundle',
      'bench',
    ]) {
      assert.match(out, new RegExp(`^ {2}${command}\\b`, 'm'))
    }
  })

  for (const command of [
    ['swarm'],
    ['init'],
    ['start'],
    ['join'],
    ['status'],
    ['peers'],
    ['events'],
    ['explain'],
    ['stop'],
    ['generate'],
    ['evaluate'],
    ['inspect'],
    ['replay'],
    ['doctor'],
    ['bundle'],
    ['bench', 'engine'],
    ['bench', 'codec'],
    ['bench', 'stream'],
    ['bench', 'pipeline'],
  ]) {
    it(`of ${command.join(' ')} has an example and --json`, async () => {
      const { code, out } = await starling(...command, '--help')
      assert.equal(code, 0)
      assert.match(out, /Example:\n {2}\$ starling /)
      assert.match(out, /--json/)
    })
  }
})

describe('mistakes on the command line', { concurrency: 4 }, () => {
  it('suggests what was meant', async () => {
    await assertMistake(['swrm'], /unknown command 'swrm' \(Did you mean swarm\?\)/)
    await assertMistake(['swarm', '--step', '5'], /unknown option '--step' \(Did you mean --steps\?\)/)
  })

  it('names the option, the value and what is allowed', async () => {
    await assertMistake(['swarm', '--peers', '0'], /--peers.*'0'.*from 1 to 64/)
    await assertMistake(['swarm', '--peers', '2.5'], /--peers.*'2\.5'/)
    await assertMistake(['swarm', '--port', '70000'], /--port.*from 0 to 65535/)
    await assertMistake(['swarm', '--attack', 'shout'], /--attack.*'shout' is none of sign-flip/)
    await assertMistake(['swarm', '--engine', 'cuda'], /--engine.*'cuda'.*native, wasm, js/)
    await assertMistake(['swarm', '--model', 'gpt-huge'], /--model must be gpt-nano.*not "gpt-huge"/)
    await assertMistake(['swarm', '--model', 'gpt-nano', '--data', 'digits'], /gpt-nano reads text/)
    await assertMistake(['swarm', '--stages', '2'], /--stages is for --strategy pipeline, not for noloco/)
    const pipeline = ['init', 'pipeline.yaml', '--strategy', 'pipeline']
    await assertMistake([...pipeline, '--stages', 'two'], /--stages.*'two'.*a number of stages, or the layers of each/)
    await assertMistake(
      [...pipeline, '--stages', '9'],
      /--stages is 9; it must be a whole number from 1 to 4.*model\.layers/,
    )
    await assertMistake([...pipeline, '--recovery', 'hope'], /--recovery.*'hope'.*checkfree, copy/)
    await assertMistake(['join', 'LINK', '--listen', 'localhost:4001'], /multiaddr/)
    await assertMistake(['bootstrap', '--announce', '/dns4/example.org'], /--announce.*names no port/)
    await assertMistake(['join'], /missing required argument 'link'/)
    await assertMistake(['status', '--api', 'nonsense'], /--api nonsense is not an address/)
  })

  it('says the same as JSON', async () => {
    const { code, out } = await starling('swarm', '--peers', '0', '--json')
    assert.equal(code, 2)
    const error = JSON.parse(out) as { kind: string; code: string; message: string }
    assert.deepEqual([error.kind, error.code], ['error', 'usage'])
    assert.match(error.message, /--peers/)
  })
})

describe('files that are not what they should be', { concurrency: 4 }, () => {
  it('refuses what is no log of contributions', async () => {
    const log = file('cut.log', 'starling run log 1\nand then nothing that fits its hash, whatever its length is')
    for (const command of ['replay', 'inspect']) {
      await assertMistake([command, log], /cut\.log is no whole run log: it was changed or cut/)
      await assertMistake(
        [command, file('other.log', 'x'.repeat(99))],
        /other\.log is no whole run log: it does not begin/,
      )
    }
    mkdirSync(join(folder, 'no-log'), { recursive: true })
    await assertMistake(['replay', 'no-log'], /no-log holds no contributions/)
    await assertMistake(['replay', 'nowhere'], /There is no nowhere/)
    await assertMistake(['replay', log, '--out', log], /--out: .*cut\.log exists/)
    await assertMistake(['replay', log, '--out', 'gone/x.safetensors'], /--out: there is no folder gone/)
    await assertMistake(['replay', log, '--upto', '-1'], /--upto.*'-1'.*at least 0/)
  })

  it('refuses weights that are missing, of another model, or no weights, and writes nothing', async () => {
    const layout = layoutOf({ architecture: 'mlp', hidden: [8], height: 28, width: 28, channels: 1, classes: 10 })
    const { header, views } = writeSafetensors(layoutTensors(layout, new Float32Array(layout.length)))
    const weights = file('tiny.safetensors', Buffer.concat([header, ...views]))
    await assertMistake(['init', '--from', 'nowhere', 'from.yaml'], /--from: there is no nowhere/)
    await assertMistake(['init', '--from', weights, 'from.yaml'], /--from: tiny\.safetensors does not fit the model/)
    await assertMistake(
      ['init', '--from', file('no.safetensors', 'no'), 'from.yaml'],
      /no\.safetensors does not fit the model/,
    )
    await assertMistake(['init', '--from', file('some.txt', 'x'), 'from.yaml'], /neither a checkpoint's folder nor/)
    assert.ok(!existsSync(join(folder, 'from.yaml')))
    const yaml =
      'name: x\nmodel: {architecture: mlp, hidden: [8]}\ndata: {source: digits}\ntraining: {}\nstrategy: {name: noloco}\n'
    const run = file('weights.yaml', yaml.replace('[8]', `[8], weights: {name: w, root: ${'a'.repeat(64)}, size: 5}`))
    await assertMistake(
      ['start', run, '--from', weights],
      /tiny\.safetensors is not the file 'w' that the run starts from/,
    )
  })

  it('refuses data that are missing, empty, binary or too short, and writes nothing', async () => {
    await assertMistake(['swarm', '--data', 'nowhere.txt'], /nowhere\.txt/)
    await assertMistake(['swarm', '--data', file('empty.txt', '')], /empty\.txt is empty/)
    await assertMistake(
      [
        'swarm',
        '--data',
        file(
          'binary.txt',
          Uint8Array.from({ length: 4_000 }, (_, index) => index % 256),
        ),
      ],
      /binary\.txt is not text/,
    )
    await assertMistake(['swarm', '--data', file('short.txt', 'too short')], /short\.txt holds 9 bytes/)
    await assertMistake(['swarm', '--data', folder], /not a file/)
    await assertMistake(['swarm', '--resume', '--data-folder', join(folder, 'nothing')], /holds no swarm to resume/)
    await assertMistake(['swarm', '--resume', '--steps', '5'], /--steps cannot be changed with --resume/)
  })

  it('refuses a bad run.yaml with its line', async () => {
    await assertMistake(['start', 'nowhere.yaml'], /no file nowhere\.yaml/)
    await assertMistake(
      ['start', file('typo.yaml', 'name: a\ndata: {source: stories}\nmodle: {}\nstrategy: {name: noloco}\n')],
      /typo\.yaml:3: modle is not a known key; did you mean model\?/,
    )
    await assertMistake(['inspect', file('empty.yaml', '')], /empty\.yaml/)
  })

  it('refuses a bad link', async () => {
    await assertMistake(['join', 'http://example.org'], /must begin with starling:\/\//)
    await assertMistake(['join', 'starling://bafy?peer=/ip4/127.0.0.1/tcp/1'], /does not name a run/)
    await assertMistake(['inspect', 'starling://nonsense'], /does not name a run/)
  })

  it('refuses what is no checkpoint', async () => {
    await assertMistake(['generate', 'nowhere'], /There is no nowhere/)
    mkdirSync(join(folder, 'hollow'))
    await assertMistake(['evaluate', 'hollow'], /holds no checkpoint/)
    mkdirSync(join(folder, 'damaged'))
    file('damaged/manifest.json', '{"digest":')
    await assertMistake(['inspect', 'damaged'], /damaged.*manifest\.json is not JSON/)
    await assertMistake(
      ['inspect', file('cut.safetensors', Uint8Array.of(255, 0, 0, 0, 0, 0, 0, 0, 1, 2))],
      /cut\.safetensors is not a safetensors file/,
    )
    await assertMistake(['inspect', file('strange.bin', 'x')], /neither a checkpoint/)
  })

  it('refuses a folder that holds a run, and one where a swarm runs', async () => {
    const held = join(folder, 'held')
    mkdirSync(held)
    file('held/swarm.json', '{"version":1,"run":"x","peers":2}')
    file('held/run.yaml', 'name: x')
    await assertMistake(['swarm', '--data-folder', held], /holds a run already; go on with --resume/)
    file('held/api.json', JSON.stringify({ url: 'http://127.0.0.1:1/', pid: process.pid, startedAt: 0 }))
    await assertMistake(['swarm', '--data-folder', held, '--resume'], /A swarm already runs on .*starling stop/)
  })

  it('names a port that is in use', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await assertMistake2(
      ['swarm', '--port', String(port), '--data-folder', join(folder, 'ported')],
      new RegExp(`Port ${port} is in use`),
    )
    server.close()
  })
})

/** As assertMistake, for commands that have said something before. */
async function assertMistake2(args: string[], words: RegExp): Promise<void> {
  const { code, err } = await starling(...args)
  assert.equal(code, 2, err)
  assert.match(err, words)
}

describe('init and inspect', () => {
  it('writes a run.yaml that is read back as the same run, and does not overwrite it', async () => {
    const { code, out } = await starling('init', 'made.yaml', '--name', 'My run', '--steps', '77', '--json')
    assert.equal(code, 0)
    const made = JSON.parse(out) as { run: string }
    const inspected = JSON.parse((await starling('inspect', 'made.yaml', '--json')).out) as {
      run: string
      training: { steps: number }
    }
    assert.equal(inspected.run, made.run)
    assert.equal(inspected.training.steps, 77)
    assert.match(readFileSync(join(folder, 'made.yaml'), 'utf8'), /^# A run of Starling/)
    await assertMistake(['init', 'made.yaml'], /exists; name another file, or replace it with --force/)
  })
})

describe('commands that talk to a running node', () => {
  it('finds it by its folder, shows it and stops it', async () => {
    const node = createFakeNode()
    const data = join(folder, '.starling', 'some-run')
    mkdirSync(data, { recursive: true })
    const server = await serveApi(
      { host: '127.0.0.1', port: 0, dataFolder: data, token: 'secret' },
      { node, log: quietLog },
    )
    node.stop = async () => void server.close()
    node.emit({ kind: 'member-joined', member: FAKE_PEERS[1] as string })
    node.emit({ kind: 'sample', step: 3, prompt: 'a', text: 'bad \u001b[2J escape' })
    const status = JSON.parse((await starling('status', '--json')).out) as { kind: string; peer: string }
    assert.deepEqual([status.kind, status.peer], ['summary', FAKE_PEERS[0]])
    assert.match((await starling('status')).out, /stories/)
    const lines = (await starling('events', '--json')).out.trim().split('\n')
    assert.equal(lines.length, 3)
    assert.deepEqual(JSON.parse(lines[2] as string), { kind: 'summary', events: 2, last: 2 })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what must not come through
    assert.doesNotMatch((await starling('events')).out, /\u001b/)
    assert.equal(JSON.parse((await starling('peers', '--json', '--data-folder', data)).out).kind, 'summary')
    const late = {
      state: 'waiting-for-partner',
      tone: 'plain',
      because: 'It waits.',
      since: Date.now() - 9_000,
    } as const
    node.setExplanation({ ...late, next: 'It goes on.', advice: ['Do that.'] })
    assert.match((await starling('explain', data)).out, /^It waits, for \d+ s\.\nIt goes on\.\n→ Do that\.\n$/)
    const stopped = await starling('stop', '--json')
    assert.equal(stopped.code, 0, stopped.err)
    await assertMistake(['status'], /No node runs below/)
    await assertMistake(['status', '--data-folder', data], /No node runs on the data folder/)
  })
})

describe('small parts', () => {
  it('gives each error its exit code and one line', () => {
    assert.equal(exitCodeOf(new StarlingError('bad-link', 'x')), 2)
    assert.equal(exitCodeOf(new StarlingError('checkpoint-corrupt', 'x')), 2)
    assert.equal(exitCodeOf(new StarlingError('no-peer-reachable', 'x')), 1)
    assert.equal(exitCodeOf(new Error('x')), 1)
    assert.equal(exitCodeOf(new CommanderError(0, 'commander.help', 'x')), 0)
    assert.equal(lineOf(new Error('error: one\n  (two)')), 'one (two)')
    assert.match(lineOf(new RangeError('Out of memory')), /^Out of memory: .*starling doctor/)
  })

  it('takes commands to the terminal out of strangers’ text', () => {
    assert.equal(plain('a\u001b]0;title\u0007b\nc\u009bd'), 'a]0;titleb\ncd')
  })

  it('aligns tables, numbers to the right', () => {
    assert.equal(
      table(
        ['name', 'n'],
        [
          ['a', 1],
          ['bcdef', 22],
        ],
      ),
      'name    n\na       1\nbcdef  22',
    )
  })

  it('suggests commands as the program was called', () => {
    assert.equal(programName(['node', '/usr/bin/starling'], {}), 'starling')
    assert.equal(programName(['node', join(process.cwd(), 'bin/starling.js')], {}), 'node bin/starling.js')
    assert.equal(programName(['node', '/x.js'], { npm_lifecycle_event: 'start' }), 'npx starling')
  })

  it('says what to do when it is not built', async () => {
    const lonely = join(folder, 'lonely', 'bin')
    mkdirSync(lonely, { recursive: true })
    writeFileSync(join(lonely, 'starling.mjs'), readFileSync(PROGRAM))
    chmodSync(join(lonely, 'starling.mjs'), 0o755)
    const child = spawn(process.execPath, [join(lonely, 'starling.mjs')])
    let err = ''
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    assert.equal(code, 2)
    assert.match(err, /not built yet: run "npm run build"/)
  })
})
