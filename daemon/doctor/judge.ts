/** Draws the findings from the facts. Pure. */
import type { Diagnosis, Facts } from './types.ts'

/** Oldest Node that all the libraries accept. */
const OLDEST_NODE = [20, 19] as const

/** Majors of Node that the tests run on. */
const TESTED_NODE = [20, 22, 24]

/** Bytes of memory one peer with a small model takes: TensorFlow's library, the heap and the vectors. */
const MEMORY_OF_A_PEER = 600e6

/** Bytes of memory for the four peers of a local swarm. */
const MEMORY_OF_A_SWARM = 4 * MEMORY_OF_A_PEER

/** Bytes of disk below which a run's checkpoints soon have no room. */
const LITTLE_DISK = 1e9

/** Bytes of disk below which not even one checkpoint of a small model fits. */
const NO_DISK = 100e6

/** Bytes that staging the native engine needs, only while it is missing. */
const DISK_OF_THE_ENGINE = 1.3e9

/** Pace difference that no healthy clock reaches: time servers slew by at most 500 parts in a million. */
const CLOCK_DRIFT = 0.05

/** Open files for a node with some hundred connections, its records and its library. */
const FEW_FILES = 1024

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`

function engine(facts: Facts): Diagnosis {
  const { engine: found, setup, tools } = facts
  if ('error' in found) return { name: 'engine', ok: 'problem', value: 'none', detail: found.error, mend: 'npm ci' }
  const value = `${found.name}, ${Math.round(found.gflops)} GFLOP/s`
  if (found.name === 'native') return { name: 'engine', ok: 'ok', value, detail: found.why }
  const missing = [
    ...(tools?.compiler === false ? ['a C++ compiler'] : []),
    ...(tools?.pip === false ? ['Python with pip'] : []),
  ]
  const detail = setup?.engine === 'wasm' ? `${found.why}. Set-up said: ${setup.why}` : found.why
  return {
    name: 'engine',
    ok: 'warning',
    value,
    detail,
    mend:
      missing.length > 0
        ? `install ${missing.join(' and ')}, then: npm run setup`
        : ((setup?.engine === 'wasm' ? setup.mend : undefined) ?? 'npm run setup'),
  }
}

function node(facts: Facts): Diagnosis {
  const [major = 0, minor = 0] = facts.node.replace(/^v/, '').split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  const value = `${facts.node} on ${facts.platform}`
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    const mend = `install Node ${OLDEST_NODE.join('.')} or later (tested: ${TESTED_NODE.join(', ')})`
    return { name: 'node', ok: 'problem', value, detail: 'older than the libraries accept', mend }
  }
  const detail = TESTED_NODE.includes(major) ? 'a tested release' : `tested releases are ${TESTED_NODE.join(', ')}`
  return { name: 'node', ok: 'ok', value, detail }
}

function memory(facts: Facts): Diagnosis {
  const { available, total, limit } = facts.memory
  const usable = Math.min(available, limit ?? available)
  const contained = limit !== undefined && limit <= available
  const value = `${gigabytes(usable)} free of ${gigabytes(Math.min(total, limit ?? total))}${contained ? ', the limit of this container or service' : ''}`
  if (usable >= MEMORY_OF_A_SWARM) return { name: 'memory', ok: 'ok', value }
  const enough = Math.floor(usable / MEMORY_OF_A_PEER)
  const detail = `a peer takes about ${gigabytes(MEMORY_OF_A_PEER)}, so there is room for ${enough}`
  if (enough === 0) {
    const mend = contained ? 'raise the limit (docker run --memory, MemoryMax=)' : 'close other programs'
    return { name: 'memory', ok: 'problem', value, detail, mend }
  }
  return { name: 'memory', ok: 'warning', value, detail, mend: `starling swarm --peers ${enough}` }
}

function disks(facts: Facts): Diagnosis[] {
  const native = 'name' in facts.engine && facts.engine.name === 'native'
  return facts.disks.map(({ purpose, folder, free, error }) => {
    const name = `disk (${purpose})`
    if (free === undefined) {
      return { name, ok: 'problem', value: 'unknown', detail: error ?? folder, mend: `make ${folder} writable` }
    }
    const value = `${gigabytes(free)} free`
    const needed = purpose === 'cache' ? (native ? 0 : DISK_OF_THE_ENGINE) : LITTLE_DISK
    if (free >= needed) return { name, ok: 'ok', value, detail: folder }
    const detail = `${folder} should have ${gigabytes(needed)}`
    const mend =
      purpose === 'cache' ? 'set STARLING_CACHE to a folder with more space' : 'free some space or use another folder'
    return { name, ok: free < NO_DISK ? 'problem' : 'warning', value, detail, mend }
  })
}

function clock(facts: Facts): Diagnosis {
  const { now, built, drift } = facts.clock
  const value = new Date(now).toISOString()
  const mend = 'sudo timedatectl set-ntp true'
  if (now < built) {
    const detail = `the clock is behind the time at which Starling was built, ${new Date(built).toISOString()}`
    return { name: 'clock', ok: 'problem', value, detail, mend }
  }
  if (Math.abs(drift) > CLOCK_DRIFT) {
    const detail = `the wall clock runs ${(drift * 100).toFixed(0)} % off the monotonic one, or was set during the check`
    return { name: 'clock', ok: 'warning', value, detail, mend }
  }
  const detail = 'pace agrees with the monotonic clock, and it is after the build; not compared with a time server'
  return { name: 'clock', ok: 'ok', value, detail }
}

function ports(facts: Facts): Diagnosis[] {
  return facts.ports.map(({ purpose, host, port, error }) => {
    const name = `port (${purpose})`
    const value = port === 0 ? `any on ${host}` : `${host}:${port}`
    if (error === undefined) return { name, ok: 'ok', value, detail: 'can be listened on' }
    if (error === 'EADDRINUSE') {
      const mend = 'stop the program that has it, or give another port (0 takes a free one)'
      return { name, ok: 'warning', value, detail: 'in use by another program', mend }
    }
    const mend = port > 0 && port < 1024 ? 'give a port above 1023' : 'let the firewall or container allow listening'
    return { name, ok: 'problem', value, detail: `cannot be listened on: ${error}`, mend }
  })
}

function openFiles(facts: Facts): Diagnosis[] {
  const { openFiles: limit } = facts
  if (limit === undefined) return []
  const value = limit === Number.POSITIVE_INFINITY ? 'unlimited' : String(limit)
  if (limit >= FEW_FILES) return [{ name: 'open files', ok: 'ok', value }]
  const detail = `a node with many connections may need ${FEW_FILES}`
  return [{ name: 'open files', ok: 'warning', value, detail, mend: `ulimit -n ${4 * FEW_FILES}` }]
}

function libraries(facts: Facts): Diagnosis {
  const entries = Object.entries(facts.libraries)
  const missing = entries.filter(([, version]) => version === undefined).map(([name]) => name)
  const value = entries.map(([name, version]) => `${name} ${version ?? 'missing'}`).join(', ')
  if (missing.length === 0) return { name: 'libraries', ok: 'ok', value }
  return { name: 'libraries', ok: 'problem', value, detail: `not installed: ${missing.join(', ')}`, mend: 'npm ci' }
}

/** Findings in the order in which they are shown. */
export function judge(facts: Facts): Diagnosis[] {
  return [
    engine(facts),
    node(facts),
    { name: 'cores', ok: 'ok', value: `${facts.cores.usable}`, detail: facts.cores.model },
    memory(facts),
    ...disks(facts),
    clock(facts),
    ...ports(facts),
    ...openFiles(facts),
    libraries(facts),
  ]
}
