/** Starts the peers of a local swarm, keeps them, and ends them. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { StarlingError } from '../../protocols/index.ts'
import { type ApiServer, serveApi } from '../api/index.ts'
import { createEventLog } from '../events/index.ts'
import type { Log } from '../log/index.ts'
import type { NodeEvent } from '../types.ts'
import { linkOf, swarmAsNode } from './as-node.ts'
import { SwarmPeer } from './peer.ts'

/** Milliseconds for the first peer to come up; a slow disk and a cold engine included. */
const FIRST_PEER = 120_000

export interface SwarmOptions {
  /** Folder of the swarm; run.yaml lies in it. */
  folder: string
  runName: string
  peers: number
  /** Threads of each peer. */
  threads: number
  /** Listen on this machine only. */
  local: boolean
  /** Path of the run's data file on this machine. */
  data?: string
  /** Path of the weights that the run starts from, if it names any. */
  weights?: string
  engine?: string
  /** How the last peers lie, one each: for demonstrations. */
  attacks?: readonly string[]
  restart: boolean
  api: { host: string; port: number; token?: string }
}

export interface LocalSwarm {
  readonly peers: readonly SwarmPeer[]
  readonly page: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** How others join. */
  link(): string
  /** What a peer is called: peer-1 and so on, or undefined for a guest. */
  nameOf(peer: string): string | undefined
  /** Calls it with everything so far, the first peer's beginning included, and with all that comes. */
  onEvent(listener: (event: NodeEvent) => void): () => void
  /** Resolves when every peer is finished or given up, or when the swarm was stopped; rejects when none of them can run. */
  readonly finished: Promise<'finished' | 'stopped'>
  /** Stops every peer with a checkpoint. The page stays up until {@link LocalSwarm.close}. */
  stop(reason: string): Promise<void>
  close(): Promise<void>
}

/** Starts the swarm; resolves when its first peer runs. Throws StarlingError: what the first peer failed with, or 'port-in-use'. */
export async function startSwarm(
  options: SwarmOptions,
  modules: { log: Log; signal: AbortSignal },
): Promise<LocalSwarm> {
  const startedAt = Date.now()
  mkdirSync(options.folder, { recursive: true })
  const log = createEventLog({ self: 'swarm', onError: (error) => modules.log.warn('A listener failed', {}, error) })
  const peers: SwarmPeer[] = []
  const waiters = new Set<() => void>() // the two waits below
  const changed = (): void => {
    for (const check of waiters) check()
  }
  const ids = (): Set<string> => new Set(peers.flatMap(({ ready }) => (ready === undefined ? [] : [ready.peer])))

  for (let number = 1; number <= options.peers; number += 1) {
    const peer: SwarmPeer = new SwarmPeer(
      { number, dataFolder: join(options.folder, `peer-${number}`), restart: options.restart },
      {
        changed,
        args: (restart) => argumentsOf(options, peer, peers, restart),
        event(event) {
          const own = event.peer === peer.ready?.peer
          // What guests do is told by gossip to all; the first live peer's word is taken.
          const guest = !own && !ids().has(event.peer) && peers.find(({ alive }) => alive) === peer
          if (!own && !guest) return
          const { sequence: _, peer: who, time, ...what } = event
          log.merge(who, time, what as never)
        },
        died: (how, restartIn) =>
          log.merge(peer.ready?.peer ?? peer.name, Date.now(), { kind: 'process-died', how, restartIn }),
        restarted: (restarts) =>
          log.merge(peer.ready?.peer ?? peer.name, Date.now(), { kind: 'process-restarted', restarts }),
      },
    )
    peers.push(peer)
  }

  let stopped: Promise<void> | undefined
  const stop = (reason: string): Promise<void> => {
    stopped ??= Promise.all(peers.map((peer) => peer.stop(reason))).then(changed)
    return stopped
  }
  const asNode = swarmAsNode({ folder: options.folder, runName: options.runName, startedAt }, { peers, log, stop })
  const api: ApiServer = await serveApi(
    { ...options.api, dataFolder: options.folder },
    { node: asNode, log: modules.log },
  )
  const abort = (): void => void stop('stopped while starting')
  modules.signal.addEventListener('abort', abort, { once: true })
  try {
    await startAll(peers, waiters, modules.signal)
  } catch (error) {
    await stop('the swarm could not start')
    await api.close()
    throw error
  } finally {
    modules.signal.removeEventListener('abort', abort)
  }

  const finished = until(waiters, () => {
    if (
      stopped !== undefined &&
      peers.every(({ state }) => state === 'stopped' || state === 'finished' || state === 'failed')
    )
      return 'stopped' as const
    if (peers.every(({ state }) => state === 'failed')) {
      const { failure, name } = peers[0] as SwarmPeer
      throw new StarlingError(
        'swarm-failed',
        `No peer runs any more; ${name}: ${failure?.message ?? 'unknown'} (see ${options.folder}/${name}.log)`,
      )
    }
    return peers.every(({ state }) => state === 'finished' || state === 'failed') ? ('finished' as const) : undefined
  })
  finished.catch(() => {}) // whoever awaits it sees the error

  return {
    peers,
    page: api.page,
    startedAt,
    link: () => linkOf(peers, options.runName),
    nameOf: (id) => peers.find(({ ready }) => ready?.peer === id)?.name,
    onEvent(listener) {
      for (const event of log.since()) listener(event)
      return log.listen(listener)
    },
    finished,
    stop,
    async close() {
      await stop('done')
      await api.close()
    },
  }
}

/** The first peer makes the run; the others join by its link. */
async function startAll(peers: readonly SwarmPeer[], waiters: Set<() => void>, signal: AbortSignal): Promise<void> {
  const [first, ...others] = peers as [SwarmPeer, ...SwarmPeer[]]
  first.start()
  const timer = setTimeout(() => first.kill(), FIRST_PEER)
  try {
    await until(waiters, () => {
      if (first.state === 'running' || first.state === 'finished') return true
      if (signal.aborted) throw new StarlingError('aborted', 'Stopped while starting')
      if (first.state !== 'failed' && first.state !== 'stopped') return undefined
      throw new StarlingError(
        first.failure?.code ?? 'peer-died',
        first.failure?.message ?? `The first peer did not start; see ${first.dataFolder}.log`,
      )
    })
  } finally {
    clearTimeout(timer)
  }
  for (const peer of others) peer.start()
}

/** Resolves to the first result of `check` that is not undefined; it is asked after every change. */
function until<T>(waiters: Set<() => void>, check: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const ask = (): void => {
      try {
        const result = check()
        if (result === undefined) return
        waiters.delete(ask)
        resolve(result)
      } catch (error) {
        waiters.delete(ask)
        reject(error)
      }
    }
    waiters.add(ask)
    ask()
  })
}

/** The last peers are the liars: the first makes the run. */
function attackOf({ attacks = [], peers }: SwarmOptions, number: number): string[] {
  const attack = attacks[attacks.length - 1 - (peers - number)]
  return attack === undefined ? [] : ['--attack', attack]
}

function argumentsOf(options: SwarmOptions, peer: SwarmPeer, peers: readonly SwarmPeer[], restart: boolean): string[] {
  const link = linkOf(
    peers.filter((other) => other !== peer && other.alive),
    options.runName,
  )
  // A peer that comes back joins whoever runs; only where nobody does, it starts the run again from its own folder.
  const role =
    (peer.number === 1 && !restart) || link === '' ? ['start', join(options.folder, 'run.yaml')] : ['join', link]
  return [
    ...role,
    '--data-folder',
    peer.dataFolder,
    '--name',
    peer.name,
    '--threads',
    String(options.threads),
    '--log-level',
    'info',
    '--stay',
    ...(options.local ? ['--local'] : []),
    ...(options.data === undefined ? [] : ['--data', options.data]),
    // Gone by now, perhaps: a peer that was started once has its own copy.
    ...(options.weights === undefined || !existsSync(options.weights) ? [] : ['--from', options.weights]),
    ...(options.engine === undefined ? [] : ['--engine', options.engine]),
    ...attackOf(options, peer.number),
  ]
}
