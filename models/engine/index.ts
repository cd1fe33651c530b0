/**
 * Picks and prepares the TensorFlow.js backend: native (`@tensorflow/tfjs-node`), else WebAssembly with SIMD, else plain JavaScript.
 * Everything is loaded through `require` and only when chosen, so a missing native package is a reason and not an error.
 */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join, sep } from 'node:path'
import type * as nodeUtil from 'node:util'
import { isMainThread } from 'node:worker_threads'
import { ModelError } from '../errors.ts'
import type { Engine } from '../types.ts'

type Tf = Engine['tf']
type EngineName = Engine['name']

export interface EngineOptions {
  /** Take this engine and no other; without it the first of native, wasm, js that works. */
  prefer?: EngineName
  /** Threads for TensorFlow's operations (native only). Default: all cores. */
  threads?: number
}

const ladder: readonly EngineName[] = ['native', 'wasm', 'js']

/**
 * Sets the environment variables that TensorFlow reads once, when its library is loaded. A worker thread normally has its own copy of
 * `process.env` that the library does not see, so a process that runs the engine in a worker calls this in its main thread first.
 * Variables that the user has set are left alone.
 */
export function prepareEngineEnvironment(threads: number = availableParallelism()): void {
  const defaults: Record<string, string> = {
    // Errors only.
    TF_CPP_MIN_LOG_LEVEL: '3',
    TF_NUM_INTRAOP_THREADS: String(threads),
    // Operations are executed one after the other; a second pool would only compete for the cores.
    TF_NUM_INTEROP_THREADS: '1',
    OMP_NUM_THREADS: String(threads),
  }
  for (const [name, value] of Object.entries(defaults)) process.env[name] ??= value
}

/**
 * Opens the engine. Works in the main thread and in worker threads, any number of times. TensorFlow.js has one active backend per thread:
 * after opening another engine in the same thread, the earlier one must not be used until it is opened again.
 * @throws ModelError 'engine-missing' when `prefer` names an engine that cannot be loaded here.
 */
export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  const { prefer, threads = availableParallelism() } = options
  if (prefer !== undefined && !ladder.includes(prefer)) {
    throw new ModelError('engine-unknown', `engine ${prefer} is unknown; use native, wasm or js`, { engine: prefer })
  }
  prepareEngineEnvironment(threads)
  const reasons: string[] = []
  for (const name of prefer === undefined ? ladder : [prefer]) {
    try {
      const tf = await loaders[name]()
      return { name, why: why(name, prefer, threads, reasons), tf }
    } catch (error) {
      reasons.push(`${name}: ${firstLine(error)}`)
    }
  }
  throw new ModelError('engine-missing', `no TensorFlow engine can be loaded (${reasons.join('; ')})`, { reasons })
}

/** The engine that {@link openEngine} will probably choose, without loading anything: native where its binding is installed. */
export function likelyEngine(): EngineName {
  try {
    const lib = join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-node/package.json')), 'lib')
    return readdirSync(lib).some((api) => existsSync(join(lib, api, 'tfjs_binding.node'))) ? 'native' : 'wasm'
  } catch {
    return 'wasm' // the package is not there, or its folder is not
  }
}

function why(name: EngineName, prefer: EngineName | undefined, threads: number, reasons: readonly string[]): string {
  const what = {
    native: `native TensorFlow on ${threads} thread${threads === 1 ? '' : 's'}${isMainThread ? '' : ' (worker)'}`,
    wasm: 'WebAssembly with SIMD on one thread',
    js: 'plain JavaScript, slow',
  }[name]
  if (prefer !== undefined) return `${what}, as asked`
  return reasons.length === 0 ? what : `${what}, because ${reasons.join('; ')}`
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.split('\n', 1)[0]?.slice(0, 200) ?? ''
}

/** `require` as seen from the tfjs package, so that every engine shares one tfjs-core. */
function requireBesideTfjs(): NodeRequire {
  return createRequire(createRequire(import.meta.url).resolve('@tensorflow/tfjs'))
}

const loaders: Record<EngineName, () => Promise<Tf>> = {
  async native() {
    patchUtil()
    const tf = createRequire(import.meta.url)('@tensorflow/tfjs-node') as Tf
    await tf.setBackend('tensorflow')
    await tf.ready()
    return tf
  },
  async wasm() {
    const require = requireBesideTfjs()
    const tf = require('@tensorflow/tfjs-core') as Tf
    const resolved = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')
    const wasm = createRequire(import.meta.url)(resolved) as {
      setWasmPaths(folder: string): void
      setThreadsCount(count: number): void
    }
    wasm.setWasmPaths(dirname(resolved) + sep)
    // The threaded build starts browser workers and hangs inside a Node worker.
    wasm.setThreadsCount(1)
    if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly backend did not start')
    await tf.ready()
    return tf
  },
  async js() {
    const require = requireBesideTfjs()
    const tf = require('@tensorflow/tfjs-core') as Tf
    require('@tensorflow/tfjs-backend-cpu')
    // No advice to install the native package: the reason it is not used is in `why`.
    tf.enableProdMode()
    await tf.setBackend('cpu')
    await tf.ready()
    return tf
  },
}

/** tfjs-node 4.22 calls `util.isNullOrUndefined` and `util.isArray`, which Node 23 removed. */
function patchUtil(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown> & typeof nodeUtil
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined
  util.isArray ??= Array.isArray
}
