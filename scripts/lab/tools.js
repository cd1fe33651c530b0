/** The programs that a lab stands on, called one at a time: each takes milliseconds, and their order is what matters. */
import { spawnSync } from 'node:child_process'

/** What every namespace of a lab is called first; the process that made it follows. */
export const PREFIX = 'starling-lab-'

/** Programs and the Debian package that brings each. */
const PROGRAMS = { ip: 'iproute2', tc: 'iproute2', iptables: 'iptables', sysctl: 'procps' }

/** A program that hangs is broken, ms. */
const PROGRAM_TIMEOUT = 30_000

/**
 * Runs a program to its end and returns what it wrote. Throws an error that names the call and what the program said, unless `mayFail`, which makes
 * undefined of a failure.
 * @param {string} program
 * @param {string[]} words
 * @param {{mayFail?: boolean, input?: string}} [options]
 */
export function call(program, words, { mayFail = false, input = '' } = {}) {
  const options = { encoding: 'utf8', timeout: PROGRAM_TIMEOUT, input }
  const { status, stdout, stderr, error } = spawnSync(program, words, options)
  if (status === 0) return stdout
  if (mayFail) return undefined
  throw new Error(`${program} ${words.join(' ')}: ${error?.message ?? stderr.trim()}`)
}

/** Why there can be no lab on this machine, in one line that says what to do; undefined where there can be one. */
export function whyNot() {
  if (process.platform !== 'linux') return `a lab is made of Linux network namespaces, and this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'network namespaces need root: run this with sudo'
  const missing = Object.keys(PROGRAMS).filter((name) => call(name, ['-V'], { mayFail: true }) === undefined)
  if (missing.length > 0) {
    const packages = [...new Set(missing.map((name) => PROGRAMS[name]))]
    return `${missing.join(' and ')} not found: apt-get install ${packages.join(' ')}`
  }
  const trial = `${PREFIX}${process.pid}-trial`
  try {
    call('ip', ['netns', 'add', trial])
    call('ip', ['netns', 'exec', trial, 'iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'lo', '-j', 'MASQUERADE'])
  } catch (error) {
    return `this machine does not let root make network namespaces with NAT in them: ${error.message}`
  } finally {
    call('ip', ['netns', 'del', trial], { mayFail: true })
  }
  return undefined
}

/** Why a scenario cannot run on this machine for want of programs, in one line that says what to install; undefined where it can. */
export function whyNotWith(programs) {
  const missing = Object.keys(programs).filter((name) => call('which', [name], { mayFail: true }) === undefined)
  if (missing.length === 0) return undefined
  return `${missing.join(' and ')} not found: apt-get install ${missing.map((name) => programs[name]).join(' ')}`
}

/** True where the kernel has `tc netem`, which delays packets. */
export function hasNetem(namespace) {
  const made = call('ip', ['netns', 'exec', namespace, 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem'], {
    mayFail: true,
  })
  if (made === undefined) return false
  call('ip', ['netns', 'exec', namespace, 'tc', 'qdisc', 'del', 'dev', 'lo', 'root'])
  return true
}

/** Namespaces of all labs on this machine, with the process that made each. */
export function namespaces() {
  return (call('ip', ['netns', 'list']) ?? '')
    .split('\n')
    .map((line) => line.split(' ')[0])
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => ({ name, pid: Number(name.slice(PREFIX.length).split('-')[0]) }))
}

/** Ends what runs in a namespace and removes it, with its interfaces and rules. */
export function removeNamespace(name) {
  for (const pid of (call('ip', ['netns', 'pids', name], { mayFail: true }) ?? '').split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch (error) {
      if (error.code !== 'ESRCH') throw error // it ended by itself meanwhile
    }
  }
  call('ip', ['netns', 'del', name], { mayFail: true })
}

/** Removes what labs left behind whose process is gone; returns the names. */
export function clean() {
  const left = namespaces().filter(({ pid }) => !isAlive(pid))
  for (const { name } of left) removeNamespace(name)
  return left.map(({ name }) => name)
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false // nobody has that number any more
  }
}
