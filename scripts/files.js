/** Small helpers over files and child processes that the scripts share. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Every file under a folder, as full paths; nothing when the folder is missing. */
export function filesUnder(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}

/** Milliseconds of the latest change among files; 0 when there are none. */
export function newest(files) {
  return files.reduce((latest, file) => Math.max(latest, statSync(file).mtimeMs), 0)
}

/**
 * Removes compiled files whose TypeScript source is gone, so that a renamed test does not live on in dist.
 * @param {string} dist folder of compiled files, laid out as the sources are
 * @returns {number} how many sources had vanished
 */
export function removeStale(dist) {
  let removed = 0
  for (const file of filesUnder(dist)) {
    const source = /^(.*)\.js$/.exec(file.slice(dist.length + 1))?.[1]
    if (source === undefined || !existsSync(`${file}.map`) || existsSync(join(root, `${source}.ts`))) continue
    for (const ending of ['.js', '.js.map', '.d.ts']) rmSync(join(dist, source + ending), { force: true })
    removed++
  }
  return removed
}

/**
 * Runs a program to its end with this process's output.
 * @param {string} program
 * @param {string[]} parameters
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>} exit code, 128 + signal number style codes reduced to 1
 */
export function run(program, parameters, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
