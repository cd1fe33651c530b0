import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../files.js'
import { until } from '../node.js'
import { exchanges, ready, writeRun } from '../training.js'

/** First contact: what somebody types who has the repository's address and a link, and how long it takes. */
export const newcomer = {
  name: 'newcomer',
  about: 'from nothing to the first round: git clone, npm ci, starling join; commands and seconds are counted',
  limit: 1_500,
  async run({ topology, crew, folder, signal, say }) {
    const first = await ready(
      crew.start('first', 'c1', ['start', writeRun(folder), ...topology.publicly('c1'), '--threads', '1']),
      { signal },
    )
    const place = join(folder, 'starling')
    // Neither packages nor a TensorFlow library that an earlier installation left.
    const empty = { npm_config_cache: join(folder, 'npm-cache'), STARLING_CACHE: join(folder, 'cache') }
    const commands = [
      { command: ['git', 'clone', '--quiet', root, place], folder },
      { command: ['npm', 'ci'], folder: place },
    ]
    const seconds = []
    for (const { command, folder: at } of commands) {
      const began = performance.now()
      await run(command, { folder: at, environment: empty, log: join(folder, `${command[0]}.log`), signal })
      seconds.push((performance.now() - began) / 1_000)
      say(`${command.join(' ')}: ${seconds.at(-1).toFixed(1)} s`)
    }
    const program = join(place, 'bin', 'starling.js')
    const since = Date.now()
    const second = crew.start('second', 'c2', ['join', first.ready.link, '--threads', '1'], { from: program })
    await ready(second, { signal })
    await until('its first round', 120, () => exchanges(second, first, since).length > 0, signal)
    const firstRound = (exchanges(second, first, since)[0].seenAt - since) / 1_000
    return {
      commands: commands.length + 1,
      clone: seconds[0],
      install: seconds[1],
      join: second.readyAfter,
      firstRound,
      total: seconds[0] + seconds[1] + firstRound,
      engine: (await second.status()).engine.name,
    }
  },
  expected: {
    'three commands are enough': ({ commands }) => commands <= 3,
    'it trains within a minute of joining': ({ firstRound }) => firstRound < 60,
  },
}

/** Runs a program to its end, on this machine: the lab has no way to a registry. Throws an error that names its log. */
async function run([program, ...words], { folder, environment, log, signal }) {
  const child = spawn(program, words, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  })
  const file = createWriteStream(log)
  child.stdout.pipe(file, { end: false })
  child.stderr.pipe(file, { end: false })
  const [code] = await once(child, 'close')
  file.end()
  if (code !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${code}, see ${log}`)
}
