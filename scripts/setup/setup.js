/**
 * Set-up, run by `npm ci` and `npm run setup`: gives Starling the native TensorFlow engine where it can be had, then builds dist/.
 *
 * The ladder: what is installed works; else the library is staged from the user's Python package index; else TensorFlow's own
 * download host; else the WebAssembly engine, which needs nothing. Only a failed build makes set-up fail. Run it again at any time.
 *
 * STARLING_CACHE names the folder of the staged library, STARLING_NATIVE=0 leaves the native engine out. --no-build leaves out dist/: an
 * image's engine does not change with its sources.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { build } from '../build.js'
import { ownDownload, probe, restorePackage } from './addon.js'
import { installBinding, missingForBinding } from './binding.js'
import { missingForLibrary, stageLibrary } from './library.js'
import { locked } from './lock.js'
import { cache, platform, staged, statusFile } from './plan.js'
import { SetupProblem } from './problem.js'
import { say } from './process.js'

/** Whether the user left the native engine out. */
function declined() {
  if (process.env.STARLING_NATIVE === '0') return 'STARLING_NATIVE=0'
  return /\boptional\b/.test(process.env.npm_config_omit ?? '') ? '--omit=optional' : undefined
}

/** Turns what went wrong into a problem; a fault of this program itself goes on up. */
function problemOf(error) {
  if (error instanceof SetupProblem) return error
  if (typeof error.code === 'string' && typeof error.syscall === 'string') {
    return new SetupProblem(
      `${error.path ?? cache}: ${error.message}`,
      'make that folder writable, or name another in STARLING_CACHE',
    )
  }
  throw error
}

/** Takes the library out of the user's Python package index, or out of the cache, and builds the binding on it. */
async function stageEngine() {
  await restorePackage()
  // Both at once, and before a long download.
  const missing = [...(await missingForLibrary()), ...(await missingForBinding())]
  if (missing.length > 0) {
    const things = missing.join(' and ')
    throw new SetupProblem(`to stage TensorFlow this machine lacks ${things}`, `install ${things}`)
  }
  await locked(cache, async () => {
    await stageLibrary()
    await installBinding()
  })
}

/** Climbs down the ladder. Returns what `starling doctor` shows. */
async function nativeEngine() {
  const reasonToSkip = declined()
  if (reasonToSkip !== undefined) {
    return {
      engine: 'wasm',
      why: `the native engine was left out by ${reasonToSkip}`,
      mend: `npm run setup without ${reasonToSkip}`,
    }
  }
  const installed = await probe()
  if (installed.works) return { engine: 'native', why: `TensorFlow ${installed.detail} was in place` }
  const problems = []
  const attempts = [
    { source: `staged in ${cache}`, attempt: stageEngine },
    { source: "from TensorFlow's own download host", attempt: ownDownload },
  ]
  for (const { source, attempt } of attempts) {
    try {
      await attempt()
      const result = await probe()
      if (result.works) return { engine: 'native', why: `TensorFlow ${result.detail} ${source}` }
      problems.push(new SetupProblem(`the library is there but does not work: ${result.detail}`, `rm -r ${staged}`))
    } catch (error) {
      problems.push(problemOf(error))
    }
    say(problems.at(-1).message)
  }
  return {
    engine: 'wasm',
    why: problems.map((problem) => problem.message).join('; '),
    mend: `${problems[0].mend}, then: npm run setup`,
  }
}

async function main() {
  const begun = performance.now()
  const status = await nativeEngine()
  const seconds = Math.round((performance.now() - begun) / 100) / 10
  mkdirSync(dirname(statusFile), { recursive: true })
  writeFileSync(
    statusFile,
    `${JSON.stringify({ ...status, platform, node: process.version, cache, seconds }, null, 2)}\n`,
  )
  if (status.engine === 'native') say(`native engine ready: ${status.why} (${seconds} s)`)
  else say(`no native TensorFlow engine; Starling will use the slower WebAssembly one. To mend: ${status.mend}`)
  const code = process.argv.includes('--no-build') ? 0 : await build()
  say(code === 0 ? `done in ${((performance.now() - begun) / 1000).toFixed(1)} s` : 'the build failed')
  process.exitCode = code
}

await main()
