/**
 * Compiles the package's Node-API binding against the staged library, keeps it beside that, and links both into the package.
 *
 * The compiler is called directly: the binding is two files, and this way it needs neither Python nor make nor the headers of this
 * very Node, and Node-API keeps it valid for every Node release, so it is compiled once for a machine.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { addon, aliases, installedBinding, libraries, NAPI_VERSION, staged } from './plan.js'
import { SetupProblem } from './problem.js'
import { capture, reason, say } from './process.js'

/** Milliseconds for the compiler: about ten seconds on one core, with room for a small machine. */
const COMPILE_LIMIT = 10 * 60_000

/** Milliseconds for a program to tell its version. */
const VERSION_LIMIT = 30_000

/** Where the loader finds the library, seen from lib/napi-v8/. */
const RUN_PATH = process.platform === 'darwin' ? '@loader_path/../../deps/lib' : '$ORIGIN/../../deps/lib'

/** The C++ compiler's name, or undefined. */
async function findCompiler() {
  for (const program of [process.env.CXX, 'c++', 'g++', 'clang++']) {
    if (program === undefined || program === '') continue
    const { code } = await capture(program, ['--version'], { limit: VERSION_LIMIT })
    if (code === 0) return program
  }
  return undefined
}

/** Where the compiled binding of the installed package's version is kept. */
function keptBinding() {
  const { version } = JSON.parse(readFileSync(join(addon, 'package.json'), 'utf8'))
  return join(staged, `tfjs_binding-${version}-napi-v${NAPI_VERSION}.node`)
}

/** What this machine lacks for the binding, as things to install. */
export async function missingForBinding() {
  if (existsSync(keptBinding()) || (await findCompiler()) !== undefined) return []
  return [`a C++ compiler (${process.platform === 'darwin' ? 'xcode-select --install' : 'g++ or build-essential'})`]
}

async function compile(to) {
  const compiler = (await findCompiler()) ?? 'c++'
  const { include_dir: nodeHeaders } = createRequire(import.meta.url)('node-api-headers')
  const unfinished = `${to}.${process.pid}`
  say('compiling the binding')
  const { code, output } = await capture(
    compiler,
    [
      ...['-shared', '-fPIC', '-O2', '-std=c++17', '-w'],
      ...(process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []),
      `-DNAPI_VERSION=${NAPI_VERSION}`,
      ...['-I', nodeHeaders, '-I', join(staged, 'include')],
      join(addon, 'binding', 'tfjs_backend.cc'),
      join(addon, 'binding', 'tfjs_binding.cc'),
      join(staged, 'lib', libraries.tensorflow),
      join(staged, 'lib', libraries.framework),
      `-Wl,-rpath,${RUN_PATH}`,
      ...['-o', unfinished],
    ],
    { label: 'compiling the binding', limit: COMPILE_LIMIT },
  )
  if (code !== 0) {
    rmSync(unfinished, { force: true })
    throw new SetupProblem(`${compiler} could not build the binding: ${reason(output)}`, 'install a C++17 compiler')
  }
  renameSync(unfinished, to)
}

/** Replaces whatever is at a path by a link. */
function link(target, path) {
  rmSync(path, { recursive: true, force: true })
  symlinkSync(target, path)
}

/**
 * Gives the installed package the staged library and a binding. Call with the cache's lock held.
 * @returns {Promise<void>}
 * @throws {SetupProblem}
 */
export async function installBinding() {
  const kept = keptBinding()
  if (!existsSync(kept)) await compile(kept)
  const lib = join(addon, 'deps', 'lib')
  rmSync(join(addon, 'deps'), { recursive: true, force: true })
  mkdirSync(lib, { recursive: true })
  for (const name of aliases.tensorflow) link(join(staged, 'lib', libraries.tensorflow), join(lib, name))
  for (const name of aliases.framework) link(join(staged, 'lib', libraries.framework), join(lib, name))
  link(join(staged, 'include'), join(addon, 'deps', 'include'))
  mkdirSync(dirname(installedBinding), { recursive: true })
  const unfinished = `${installedBinding}.${process.pid}`
  copyFileSync(kept, unfinished)
  renameSync(unfinished, installedBinding)
}
