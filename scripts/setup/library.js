/** Stages TensorFlow's C library in the user's cache folder, out of the wheel that the user's own pip fetches. */
import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { cache, libraries, platform, staged, TENSORFLOW_VERSION, wheel } from './plan.js'
import { SetupProblem } from './problem.js'
import { capture, reason, say } from './process.js'
import { extract } from './zip.js'

/** Milliseconds for the download: half an hour for a few hundred megabytes on a slow line. */
const DOWNLOAD_LIMIT = 30 * 60_000

/** Milliseconds for a program to tell its version. */
const VERSION_LIMIT = 30_000

/** Bytes that the wheel and what is taken out of it need together. */
const DISK_NEEDED = 1.3e9

/** Headers that the binding's sources reach. */
const headers = ['tensorflow/c/', 'tensorflow/core/platform/ctstring', 'tsl/platform/ctstring', 'xla/tsl/c/']

/** Ways to start pip, in order of preference. */
const pips = [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']]

/** Names in the cache that only an interrupted set-up leaves behind. */
const UNFINISHED = /^unfinished-/

/** The command that starts pip, or undefined. */
async function findPip() {
  for (const [program, ...parameters] of pips) {
    const { code } = await capture(program, [...parameters, '--version'], { limit: VERSION_LIMIT })
    if (code === 0) return [program, ...parameters]
  }
  return undefined
}

/** What this machine lacks for staging, as things to install. */
export async function missingForLibrary() {
  if (existsSync(staged) || existsSync(keptWheel()) || (await findPip()) !== undefined) return []
  return ['Python with pip']
}

async function sha256(file) {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

/** Where a fetched wheel lies until the library is taken out of it. */
function keptWheel() {
  return join(cache, `tensorflow-${TENSORFLOW_VERSION}-${platform}.whl`)
}

/** Fetches the wheel into the cache unless it lies there whole. Returns its path. */
async function fetchWheel() {
  const kept = keptWheel()
  if (existsSync(kept)) {
    if ((await sha256(kept)) === wheel.sha256) return kept
    rmSync(kept)
  }
  const free = statfsSync(cache)
  if (free.bavail * free.bsize < DISK_NEEDED) {
    const gigabytes = ((free.bavail * free.bsize) / 1e9).toFixed(1)
    throw new SetupProblem(
      `${cache} has ${gigabytes} GB free and TensorFlow needs ${DISK_NEEDED / 1e9} GB`,
      'free some space or set STARLING_CACHE to a folder with more',
    )
  }
  const [program, ...parameters] = (await findPip()) ?? ['pip']
  const folder = join(cache, `unfinished-download-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  const requirements = join(folder, 'requirements.txt')
  writeFileSync(requirements, `${wheel.distribution}==${TENSORFLOW_VERSION} --hash=sha256:${wheel.sha256}\n`)
  const label = `fetching TensorFlow ${TENSORFLOW_VERSION} with pip, ${wheel.megabytes} MB, once for this machine`
  say(label)
  const { code, output } = await capture(
    program,
    [
      ...parameters,
      'download',
      '--no-deps',
      '--only-binary=:all:',
      '--require-hashes',
      ...['--platform', wheel.tag, '--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311'],
      '--disable-pip-version-check',
      ...['--retries', '2'],
      ...['--dest', folder],
      ...['--requirement', requirements],
    ],
    // Nothing is installed, so a rule against installing outside a virtual environment does not apply.
    { label, limit: DOWNLOAD_LIMIT, env: { ...process.env, PIP_REQUIRE_VIRTUALENV: '0' } },
  )
  const wheelName = readdirSync(folder).find((name) => name.endsWith('.whl'))
  if (code !== 0 || wheelName === undefined) {
    rmSync(folder, { recursive: true, force: true })
    throw new SetupProblem(
      `pip could not fetch ${wheel.distribution} ${TENSORFLOW_VERSION}: ${code === 124 ? 'out of time' : reason(output)}`,
      'see that pip reaches its package index',
    )
  }
  renameSync(join(folder, wheelName), kept)
  rmSync(folder, { recursive: true, force: true })
  return kept
}

/** Where an entry of the wheel goes below the staging folder. */
function place(folder) {
  return (/** @type {string} */ name) => {
    if (name === `tensorflow/${libraries.tensorflow}` || name === `tensorflow/${libraries.framework}`) {
      return join(folder, 'lib', name.slice('tensorflow/'.length))
    }
    const header = name.startsWith('tensorflow/include/') ? name.slice('tensorflow/include/'.length) : undefined
    return header !== undefined && headers.some((prefix) => header.startsWith(prefix))
      ? join(folder, 'include', header)
      : undefined
  }
}

/**
 * Makes sure that the library lies in the cache. Call with the cache's lock held. Everything is written beside its place and renamed
 * when whole, so a set-up that was interrupted is simply run again, and goes on from a wheel that was fetched.
 * @returns {Promise<void>}
 * @throws {SetupProblem}
 */
export async function stageLibrary() {
  if (existsSync(staged)) return
  if (wheel === undefined) {
    throw new SetupProblem(`TensorFlow ${TENSORFLOW_VERSION} is not published for ${platform}`, 'use another machine')
  }
  if (process.platform === 'linux' && process.report.getReport().header.glibcVersionRuntime === undefined) {
    throw new SetupProblem('TensorFlow needs glibc and this system has another C library', 'use a glibc distribution')
  }
  for (const name of readdirSync(cache)) {
    if (UNFINISHED.test(name)) rmSync(join(cache, name), { recursive: true, force: true })
  }
  const archive = await fetchWheel()
  const folder = join(cache, `unfinished-library-${process.pid}`)
  say('unpacking the library')
  try {
    await extract(archive, place(folder))
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw new SetupProblem(`${archive} could not be unpacked: ${error.message}`, 'remove that file')
  }
  renameSync(folder, staged)
  rmSync(archive)
}
