/** The npm package @tensorflow/tfjs-node: brought back when npm dropped it, tried, and helped by its own download when nothing else is left. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../files.js'
import { addon } from './plan.js'
import { SetupProblem } from './problem.js'
import { capture, reason, say } from './process.js'

/** Milliseconds for loading the library, 850 MB from a slow disk at worst, and one small product. */
const PROBE_LIMIT = 120_000

/** Milliseconds for npm to put back one package and what it needs. */
const RESTORE_LIMIT = 10 * 60_000

/** Milliseconds for the package's own download, a library of about 100 MB. */
const OWN_DOWNLOAD_LIMIT = 15 * 60_000

/**
 * Whether the installed package works.
 * @returns {Promise<{ works: boolean, detail: string }>} detail: TensorFlow's version, or why it does not work
 */
export async function probe() {
  if (!existsSync(join(addon, 'package.json')))
    return { works: false, detail: '@tensorflow/tfjs-node is not installed' }
  const script = fileURLToPath(new URL('probe.js', import.meta.url))
  const { code, output, stdout } = await capture(process.execPath, [script], { cwd: root, limit: PROBE_LIMIT })
  return code === 0 ? { works: true, detail: stdout.trim() } : { works: false, detail: reason(output) }
}

/**
 * Makes sure that the package itself is there, in the version of the lockfile. npm leaves out an optional package whose install
 * script failed; without scripts it stays.
 * @throws {SetupProblem}
 */
export async function restorePackage() {
  const needed = ['@tensorflow/tfjs-node', '@mapbox/node-pre-gyp', 'node-api-headers']
  if (needed.every((name) => existsSync(join(root, 'node_modules', name, 'package.json')))) return
  say('npm left out @tensorflow/tfjs-node; putting it back')
  const npm = process.env.npm_execpath
  const parameters = ['install', '--ignore-scripts', '--no-save', '--no-audit', '--no-fund']
  const { code, output } = await capture(
    npm?.endsWith('.js') ? process.execPath : 'npm',
    npm?.endsWith('.js') ? [npm, ...parameters] : parameters,
    { label: 'putting the package back', limit: RESTORE_LIMIT, cwd: root },
  )
  if (code !== 0 || !existsSync(join(addon, 'package.json'))) {
    throw new SetupProblem(
      `npm could not install @tensorflow/tfjs-node: ${reason(output)}`,
      'see that npm reaches its registry',
    )
  }
}

/**
 * Lets the package fetch the library and the binding from TensorFlow's own download host.
 * @throws {SetupProblem}
 */
export async function ownDownload() {
  const label = "trying TensorFlow's own download host"
  say(label)
  const { code, output } = await capture(process.execPath, [join('scripts', 'install.js'), 'cpu', 'download'], {
    label,
    limit: OWN_DOWNLOAD_LIMIT,
    cwd: addon,
    env: { ...process.env, PATH: join(root, 'node_modules', '.bin') + delimiter + process.env.PATH },
  })
  if (code !== 0) {
    throw new SetupProblem(
      `TensorFlow's own download host could not be used: ${code === 124 ? 'out of time' : reason(output)}`,
      'see that this machine reaches the internet',
    )
  }
}
