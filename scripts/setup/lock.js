/** One set-up at a time works in the cache folder. */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { say } from './process.js'

/** Milliseconds between two touches of the lock by its holder. */
const TOUCH = 5_000

/** Milliseconds without a touch after which the holder counts as dead: its machine may have been switched off. */
const STALE = 60_000

/** Milliseconds between two looks at a lock that another set-up holds. */
const LOOK = 500

/** Whether the holder of a lock folder is gone. */
function abandoned(folder) {
  try {
    const { pid, host } = JSON.parse(readFileSync(join(folder, 'holder.json'), 'utf8'))
    if (host === hostname()) process.kill(pid, 0)
  } catch (error) {
    if (error.code === 'ESRCH') return true
    if (error.code !== 'EPERM' && error.code !== 'ENOENT' && !(error instanceof SyntaxError)) throw error
  }
  try {
    return Date.now() - statSync(folder).mtimeMs > STALE
  } catch (error) {
    if (error.code === 'ENOENT') return false
    throw error
  }
}

/** Removes an abandoned lock; puts it back when another set-up took it over in between. */
function takeAway(lock) {
  const aside = `${lock}.${process.pid}`
  try {
    renameSync(lock, aside)
    if (abandoned(aside)) rmSync(aside, { recursive: true, force: true })
    else renameSync(aside, lock)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error // Another set-up took it away first.
  }
}

/**
 * Runs an action while holding the lock of a folder; waits while another process that lives holds it.
 * @template T
 * @param {string} folder made when missing
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function locked(folder, action) {
  mkdirSync(folder, { recursive: true })
  const lock = join(folder, 'setup.lock')
  let told = false
  for (;;) {
    try {
      mkdirSync(lock)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (abandoned(lock)) {
      takeAway(lock)
      continue
    }
    if (!told) say('another set-up is at work in the cache; waiting for it')
    told = true
    await wait(LOOK)
  }
  writeFileSync(join(lock, 'holder.json'), JSON.stringify({ pid: process.pid, host: hostname() }))
  const touch = setInterval(() => utimesSync(lock, new Date(), new Date()), TOUCH)
  try {
    return await action()
  } finally {
    clearInterval(touch)
    rmSync(lock, { recursive: true, force: true })
  }
}
