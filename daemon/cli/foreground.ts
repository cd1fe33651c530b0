/** One node in this process, from its start to its end: for `start` and `join`, and as a peer of a local swarm. */
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { StarlingError } from '../../protocols/index.ts'
import { createLog, createLogFile } from '../log/index.ts'
import { type ChildMessage, type ParentMessage, STATE_INTERVAL } from '../swarm/messages.ts'
import type { NodeEvent, NodeOptions, RunningNode } from '../types.ts'
import { describeEvent, describeStages, explanationLines, shortName } from '../view/index.ts'
import { codeOf, exitCodeOf, lineOf, MISTAKE } from './errors.ts'
import { findWeights } from './from.ts'
import type { NodeFlags } from './options.ts'
import { createOutput, type Output, plain } from './output.ts'
import { onInterrupt } from './process.ts'
import { programName } from './program.ts'
import { createProgress, type Progress } from './progress.ts'

/** Longest wait after the last step for others that still train and may want our state, milliseconds. */
const LINGER = 60_000

/** A start that takes longer is explained, and again after this long, milliseconds. */
const START_PATIENCE = 3_000
const START_REPEAT = 20_000

/** Everything of NodeOptions that flags decide. */
export function optionsOf(flags: NodeFlags, dataFolder: string): NodeOptions {
  const anywhere = flags.local === true ? '/ip4/127.0.0.1/tcp/0' : '/ip4/0.0.0.0/tcp/0'
  return {
    dataFolder,
    ...(flags.name === undefined ? {} : { name: flags.name }),
    listen: flags.listen ?? [anywhere],
    announce: flags.announce ?? [],
    bootstrap: flags.bootstrap ?? [],
    mdns: flags.mdns === true,
    ...(flags.local === true || flags.relay === false ? {} : { relay: { use: true, serve: flags.relay === true } }),
    upnp: flags.upnp === true,
    ...(flags.webrtc === undefined && flags.stun === undefined ? {} : { webrtc: { stun: flags.stun ?? [] } }),
    resume: flags.resume,
    api: { host: flags.apiHost, port: flags.port, ...(flags.apiToken === undefined ? {} : { token: flags.apiToken }) },
    threads: flags.threads ?? Math.max(1, cpus().length),
    ...(flags.engine === undefined ? {} : { engine: flags.engine }),
    ...(flags.attack === undefined ? {} : { attack: flags.attack }),
    local: {
      ...(flags.data === undefined ? {} : { dataPath: flags.data }),
      ...(flags.from === undefined ? {} : { weightsPath: findWeights(flags.from) }),
    },
  }
}

/** Runs the node until its steps are done, it is stopped or it fails. Throws what made it fail. */
export async function runForeground(options: NodeOptions, flags: NodeFlags): Promise<void> {
  const output = createOutput(flags.json === true)
  const voice = { say: output.note }
  const parent = process.send === undefined ? undefined : createParent()
  const aborter = new AbortController()
  const logFile = createLogFile()
  const log = createLog({ format: flags.logFormat, ...flags.logLevel, file: logFile })
  let node: RunningNode | undefined
  let stopReason: string | undefined
  const stop = (reason: string): void => {
    stopReason ??= reason
    if (node === undefined) aborter.abort(new StarlingError('aborted', reason))
    else void node.stop(reason).catch(() => {}) // its end is awaited below
  }
  parent?.onStop(stop)
  const release =
    parent === undefined
      ? onInterrupt(
          (signal) => stop(`${signal} received`),
          (text) => voice.say(text),
        )
      : ignoreInterrupt()
  try {
    const { startNode } = await import('../node/index.ts')
    const starting = parent === undefined ? sayWhileStarting(output) : undefined
    try {
      const watch = starting === undefined ? {} : { starting: starting.watch }
      node = await startNode(options, { signal: aborter.signal, log, logFile, ...watch })
    } finally {
      starting?.stop()
    }
    if (parent !== undefined) await superviseByParent(node, parent)
    else await superviseByUser(node, output, flags.stay === true, voice)
    if (stopReason === undefined) await node.stop('done')
  } catch (error) {
    if (stopReason !== undefined && node === undefined) return
    // Over the API, while it looked for peers.
    if (node === undefined && codeOf(error) === 'aborted') {
      output.note(`Stopped before it took part: ${lineOf(error)}`)
      return
    }
    parent?.send({
      type: 'failed',
      code: codeOf(error),
      message: lineOf(error),
      mistake: exitCodeOf(error) === MISTAKE,
    })
    await node?.stop('failed').catch(() => {}) // the first error is the one that counts
    throw error
  } finally {
    release()
    parent?.close()
  }
}

/** Says on the terminal what a start waits for, where it takes long: first after some seconds, then whenever that changes and now and then. */
function sayWhileStarting(output: Output): { watch(node: Pick<RunningNode, 'explain'>): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined
  return {
    watch(node) {
      const begun = Date.now()
      let said = { state: '', at: begun }
      timer = setInterval(() => {
        const now = Date.now()
        for (const explained of node.explain()) {
          if (now - begun < START_PATIENCE) return
          if (explained.state === said.state && now - said.at < START_REPEAT) return
          said = { state: explained.state, at: now }
          output.record({ kind: 'explain', ...explained })
          for (const line of explanationLines(explained, now)) output.line(plain(line))
        }
      }, 1_000)
    },
    stop: () => clearInterval(timer),
  }
}

/** Resolves when the node stopped by itself or was told to. */
function stopped(node: RunningNode): Promise<void> {
  return new Promise((resolve) => {
    const unsubscribe = node.onEvent((event) => {
      if (event.kind !== 'stopping' || event.peer !== node.peer) return
      unsubscribe()
      // The second call waits for the first.
      node.stop(event.reason).then(resolve, () => resolve())
    })
  })
}

async function superviseByUser(
  node: RunningNode,
  output: Output,
  stay: boolean,
  voice: { say(text: string): void },
): Promise<void> {
  const first = node.status()
  output.record({
    kind: 'ready',
    peer: node.peer,
    run: first.run,
    page: node.page,
    link: first.link,
    dataFolder: first.dataFolder,
  })
  output.line(
    `${first.runName}: ${first.strategy}, ${first.model.preset} (${first.model.parameters.toLocaleString('en')} parameters), ${first.engine.name} engine`,
  )
  output.line(`page  ${node.page}`)
  output.line(`join  ${programName()} join '${first.link}'`)
  output.line()
  const progress = createProgress(output.live, (text) => output.line(text))
  // Between the bars, so that they do not paint over it.
  if (output.live) voice.say = progress.line
  const draw = (): void => drawNode(node, progress)
  const timer = setInterval(draw, 500)
  const unsubscribe = node.onEvent((event) => {
    output.record({ ...event })
    if (isWorthALine(event, node.peer)) progress.line(`${shortName(event.peer)}  ${plain(describeEvent(event))}`)
  })
  let end: 'finished' | 'stopped'
  try {
    const gone = stopped(node).then(() => 'stopped' as const)
    const finished = node.finished.then(() => 'finished' as const)
    end = await Promise.race([gone, finished])
    if (end === 'finished') {
      draw()
      if (stay) progress.line('Finished; serving the page and the state until Ctrl-C.')
      end = await Promise.race([gone, stay ? gone : linger(node, progress).then(() => 'finished' as const)])
    }
  } finally {
    clearInterval(timer)
    unsubscribe()
    draw()
    progress.stop()
    voice.say = output.note
  }
  const last = node.status()
  output.summary({
    phase: last.phase,
    finished: end === 'finished' || last.step >= last.steps,
    step: last.step,
    steps: last.steps,
    round: last.round,
    loss: last.loss,
    validationLoss: last.validationLoss,
    ...(last.set === undefined ? {} : { set: last.set }),
    bytesSent: last.bytesSent,
    bytesReceived: last.bytesReceived,
    dataFolder: last.dataFolder,
  })
  output.line(`Step ${last.step} of ${last.steps}; everything is in ${last.dataFolder}`)
}

/** Serves on while others train, for a while: they may still want an exchange or our state. */
async function linger(node: RunningNode, progress: Progress): Promise<void> {
  const deadline = Date.now() + LINGER
  let said = false
  while (Date.now() < deadline) {
    const busy = node
      .peers()
      .filter((peer) => !peer.self && peer.connected && (peer.phase === 'training' || peer.phase === 'joining'))
    if (busy.length === 0) return
    if (!said) progress.line(`Finished; ${busy.length} still train, serving them for up to ${LINGER / 1000} s.`)
    said = true
    await sleep(500)
  }
}

function drawNode(node: RunningNode, progress: Progress): void {
  const { pipeline } = node.status()
  for (const peer of node.peers()) {
    const name = peer.self ? 'here' : shortName(peer.peer)
    const note = peer.self ? peer.phase : peer.silentFor > 10_000 ? 'silent' : peer.phase
    progress.update(peer.peer, {
      name,
      step: peer.step,
      steps: node.status().steps,
      round: peer.round,
      ...(peer.set === undefined ? {} : { contributions: peer.set.contributions }),
      ...(peer.self && pipeline !== undefined ? { part: describeStages(pipeline.stages) } : {}),
      loss: peer.loss,
      validationLoss: peer.validationLoss,
      note,
    })
  }
}

const WORTH: ReadonlySet<NodeEvent['kind']> = new Set([
  'member-joined',
  'member-left',
  'resumed',
  'joined',
  'trainer-crashed',
  'trainer-restarted',
  'rejected',
  'sample',
  'checkpoint',
  'finished',
  'waiting',
  'excluded',
  'plan',
  'stage-taken',
  'stage-left',
  'stage-lost',
  'stage-recovered',
  'plan-agreed',
  'final-elsewhere',
  'reachability',
])

function isWorthALine(event: NodeEvent, self: string): boolean {
  return event.peer === self && WORTH.has(event.kind)
}

interface Parent {
  send(message: ChildMessage): void
  onStop(stop: (reason: string) => void): void
  close(): void
}

/** The launcher at the other end of the process channel; when it dies, the node stops as if told to. */
function createParent(): Parent {
  return {
    send(message) {
      if (process.connected) process.send?.(message, undefined, undefined, () => {}) // a launcher that is gone needs no news
    },
    onStop(stop) {
      process.on('message', (message: ParentMessage) => {
        if (message.type === 'stop') stop(message.reason)
      })
      process.on('disconnect', () => stop('its launcher is gone'))
      process.on('SIGTERM', () => stop('SIGTERM received'))
    },
    close() {
      if (process.connected) process.disconnect()
    },
  }
}

/** Ctrl-C in the launcher's terminal is the launcher's business. */
function ignoreInterrupt(): () => void {
  const ignore = (): void => {}
  process.on('SIGINT', ignore)
  return () => process.off('SIGINT', ignore)
}

async function superviseByParent(node: RunningNode, parent: Parent): Promise<void> {
  const status = node.status()
  parent.send({ type: 'ready', peer: node.peer, page: node.page, link: status.link, listen: status.listen })
  for (const event of node.events()) parent.send({ type: 'event', event })
  const unsubscribe = node.onEvent((event) => parent.send({ type: 'event', event }))
  const state = (): void => {
    const [explained] = node.explain()
    if (explained === undefined) return
    const { peer: _, name: __, ...explanation } = explained
    parent.send({ type: 'state', status: node.status(), peers: node.peers(), explanation })
  }
  const timer = setInterval(state, STATE_INTERVAL)
  state()
  const gone = stopped(node)
  try {
    await Promise.race([
      gone,
      node.finished.then(async () => {
        state()
        parent.send({ type: 'finished' })
        await gone
      }),
    ])
    state()
  } finally {
    clearInterval(timer)
    unsubscribe()
  }
}
