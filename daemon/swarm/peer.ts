/** One peer of a local swarm: a process that is started again when it dies. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Explanation, NodeEvent, NodeStatus, PeerStatus } from '../types.ts'
import type { ChildMessage, ParentMessage } from './messages.ts'

/** The program, seen from dist/daemon/swarm. */
const PROGRAM = fileURLToPath(new URL('../../../bin/starling.js', import.meta.url))

/** Milliseconds before a dead peer is started again: doubled each time up to the longest, and back to the first after a while of health. */
const FIRST_PAUSE = 1_000
const LONGEST_PAUSE = 30_000
const HEALTHY = 60_000

/** Starts in a row that did not last before the peer is given up. */
const HOPELESS = 5

/** Milliseconds for a clean stop before the process is killed. */
const STOP_TIMEOUT = 6_000

export type PeerState = 'starting' | 'running' | 'finished' | 'down' | 'failed' | 'stopped'

export interface PeerHooks {
  /** Arguments of the next start, after `starling`. */
  args(restart: boolean): string[]
  event(event: NodeEvent): void
  died(how: string, restartIn: number): void
  restarted(times: number): void
  /** Anything about the peer changed. */
  changed(): void
}

export interface Failure {
  code: string
  message: string
  mistake: boolean
}

export class SwarmPeer {
  readonly number: number
  readonly name: string
  readonly dataFolder: string
  state: PeerState = 'starting'
  /** What its process said last. */
  ready: Extract<ChildMessage, { type: 'ready' }> | undefined
  status: NodeStatus | undefined
  peers: PeerStatus[] = []
  explanation: Explanation | undefined
  heardAt = Date.now()
  restarts = 0
  failure: Failure | undefined
  /** The merged model, once it has one. */
  final: Extract<NodeEvent, { kind: 'final' }> | undefined

  readonly logFile: string
  private readonly hooks: PeerHooks
  private readonly restartable: boolean
  private child: ChildProcess | undefined
  private timer: NodeJS.Timeout | undefined
  private hopeless = 0
  private startedAt = 0
  private stopping = false
  private exited: Promise<void> = Promise.resolve()

  constructor(options: { number: number; dataFolder: string; restart: boolean }, hooks: PeerHooks) {
    this.number = options.number
    this.name = `peer-${options.number}`
    this.dataFolder = options.dataFolder
    this.logFile = `${options.dataFolder}.log`
    this.restartable = options.restart
    this.hooks = hooks
  }

  get pid(): number | undefined {
    return this.child?.pid
  }

  get alive(): boolean {
    return this.child !== undefined && this.ready !== undefined
  }

  /** Starts the process; the rest comes through the hooks. */
  start(restart = false): void {
    this.state = 'starting'
    this.startedAt = Date.now()
    const log = openSync(this.logFile, 'a')
    // A group of its own: Ctrl-C in the terminal reaches the launcher only, which then stops everyone in order.
    const child = spawn(process.execPath, [PROGRAM, ...this.hooks.args(restart)], {
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    })
    closeSync(log)
    this.child = child
    child.on('message', (message: ChildMessage) => this.receive(message))
    this.exited = new Promise((resolve) => {
      let over = false
      const end = (how: string): void => {
        if (over) return
        over = true
        this.onExit(how)
        resolve()
      }
      child.once('error', (error) => end(error.message))
      // Not 'exit', which may come before its last message, the reason.
      child.once('close', (code, signal) => end(signal === null ? `exit code ${code}` : `killed by ${signal}`))
    })
    this.hooks.changed()
  }

  private receive(message: ChildMessage): void {
    this.heardAt = Date.now()
    switch (message.type) {
      case 'ready':
        this.ready = message
        this.state = 'running'
        if (this.restarts > 0) this.hooks.restarted(this.restarts)
        break
      case 'event':
        if (message.event.kind === 'final' && message.event.peer === this.ready?.peer) this.final = message.event
        this.hooks.event(message.event)
        return
      case 'state':
        this.status = message.status
        this.peers = message.peers
        this.explanation = message.explanation
        break
      case 'finished':
        this.state = 'finished'
        break
      case 'failed':
        this.failure = { code: message.code, message: message.message, mistake: message.mistake }
        break
    }
    this.hooks.changed()
  }

  private onExit(how: string): void {
    const finished = this.state === 'finished'
    this.child = undefined
    if (this.stopping || finished) {
      this.state = finished ? 'finished' : 'stopped'
    } else {
      this.hopeless += 1
      if (Date.now() - this.startedAt > HEALTHY) this.hopeless = 1
      const never = this.ready === undefined && this.restarts === 0
      if (!this.restartable || this.hopeless > HOPELESS || (never && this.failure?.mistake === true)) {
        this.state = 'failed'
        this.failure ??= { code: 'peer-died', message: how, mistake: false }
      } else {
        this.state = 'down'
        const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.hopeless - 1))
        this.hooks.died(this.failure?.message ?? how, pause)
        this.failure = undefined
        this.timer = setTimeout(() => {
          this.restarts += 1
          this.start(true)
        }, pause)
      }
    }
    this.hooks.changed()
  }

  /** Asks the process to stop with a checkpoint; kills it when that takes too long. */
  async stop(reason: string): Promise<void> {
    this.stopping = true
    clearTimeout(this.timer)
    const { child } = this
    if (child === undefined) {
      if (this.state === 'down') this.state = 'stopped'
      return
    }
    if (child.connected) child.send({ type: 'stop', reason } satisfies ParentMessage, () => {}) // a process that just died needs no order
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
    await this.exited
    clearTimeout(timer)
  }

  /** Ends the process at once. */
  kill(): void {
    this.stopping = true
    clearTimeout(this.timer)
    this.child?.kill('SIGKILL')
  }
}
