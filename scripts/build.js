/**
 * Builds dist/: the WebAssembly kernels, the TypeScript projects and the page's files. What is up to date is left alone, so a
 * second run takes about a second.
 *
 *     node scripts/build.js [--clean] [--quiet] [folder ...]
 *
 * With folders (kernels, models, protocols, simulator, daemon, tests) only those and what they stand on are compiled.
 */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { filesUnder, newest, removeStale, root, run } from './files.js'

const dist = join(root, 'dist')

const folders = ['kernels', 'models', 'protocols', 'simulator', 'daemon', 'tests']

/** What the page needs from installed packages, beside its own files. */
const vendored = ['uplot/dist/uPlot.esm.js', 'uplot/dist/uPlot.min.css']

/** Copies a file unless the copy is as new. */
function copyWhenNewer(from, to) {
  if (existsSync(to) && newest([to]) >= newest([from])) return
  copyFileSync(from, to)
}

/** Compiles the AssemblyScript kernels when a source is newer than the module. */
async function buildKernels() {
  const module = join(dist, 'kernels', 'kernels.wasm')
  const sources = filesUnder(join(root, 'kernels', 'assembly'))
  if (sources.length === 0 || (existsSync(module) && newest([module]) > newest(sources))) return 0
  mkdirSync(join(dist, 'kernels'), { recursive: true })
  const unfinished = join(dist, 'kernels', `.kernels.${process.pid}.wasm`)
  const asc = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js')
  const config = 'kernels/assembly/asconfig.json'
  const code = await run(process.execPath, [asc, '--config', config, '--target', 'release', '--outFile', unfinished])
  if (code === 0) renameSync(unfinished, module)
  else rmSync(unfinished, { force: true })
  return code
}

/** Compiles the TypeScript projects, errors and all: a project with errors does not stop the others. */
async function buildProjects(chosen) {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  return await run(process.execPath, [tsc, '-b', ...(chosen.length > 0 ? chosen : ['.'])])
}

/** Copies what the browser reads as it is: markup, styles, pictures and the chart library. */
function copyPage() {
  const from = join(root, 'daemon', 'page')
  const to = join(dist, 'daemon', 'page')
  const files = filesUnder(from).filter((file) => /\.(html|css|svg|png|ico|webmanifest)$/.test(file))
  if (files.length === 0) return
  for (const file of files) {
    const copy = join(to, file.slice(from.length + 1))
    mkdirSync(join(copy, '..'), { recursive: true })
    copyWhenNewer(file, copy)
  }
  for (const file of vendored) copyWhenNewer(join(root, 'node_modules', file), join(to, basename(file)))
}

/**
 * Builds everything, or the given folders with what they stand on.
 * @param {string[]} [chosen]
 * @returns {Promise<number>} 0, or the exit code of the first step that failed
 */
export async function build(chosen = []) {
  removeStale(dist)
  const kernels = await buildKernels()
  const projects = await buildProjects(chosen)
  if (chosen.length === 0 || chosen.includes('daemon') || chosen.includes('tests')) copyPage()
  return kernels || projects
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { clean: { type: 'boolean', default: false }, quiet: { type: 'boolean', default: false } },
  })
  const unknown = positionals.find((name) => !folders.includes(name))
  if (unknown !== undefined) {
    console.error(`build: no folder "${unknown}"; the folders are ${folders.join(', ')}`)
    process.exitCode = 2
    return
  }
  if (values.clean) rmSync(dist, { recursive: true, force: true })
  const before = performance.now()
  process.exitCode = await build(positionals)
  if (!values.quiet && process.exitCode === 0) {
    console.log(`built dist/ in ${((performance.now() - before) / 1000).toFixed(1)} s`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
