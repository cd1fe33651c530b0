import { createRequire } from 'node:module'
import { formatLink, type MemberStatus, type PeerName, type RunningSwarm } from '../../protocols/index.ts'
import type { EventLog, OwnEvent } from '../events/index.ts'
import type { Metrics } from '../metrics/index.ts'
import type { Network } from '../network/index.ts'
import type { Run } from '../run/index.ts'
import type { NodeOptions, NodeStatus, PeerStatus, PipelineStatus, SetStatus } from '../types.ts'
import { bestFirst, bestLinks } from './network.ts'

/** Version of this program. */
export const VERSION = (createRequire(import.meta.url)('../../../package.json') as { version: string }).version

/** What a node knows of its own progress, folded from its events. */
export interface Progress {
  phase: NodeStatus['phase']
  step: number
  round: number
  loss: number | null
  validationLoss: number | null
  engine: { name: string; why: string }
  set?: SetStatus
  pipeline?: PipelineStatus
}

export function createProgress(): Progress {
  return {
    phase: 'joining',
    step: 0,
    round: 0,
    loss: null,
    validationLoss: null,
    engine: { name: 'none', why: 'the trainer has not started' },
  }
}

/** Takes in one event of this node. */
export function advance(progress: Progress, event: OwnEvent): void {
  const set = (step: number, round?: number): void => {
    progress.step = step
    if (round !== undefined) progress.round = round
  }
  if (event.kind === 'step') {
    set(event.step)
    progress.loss = event.loss
    if (progress.phase === 'joining') progress.phase = 'training'
  } else if (event.kind === 'evaluation') {
    set(event.step, event.round)
    progress.validationLoss = event.loss
  } else if (event.kind === 'exchange' || event.kind === 'exchange-skipped' || event.kind === 'mixed')
    progress.round = event.round
  else if (event.kind === 'joined' || event.kind === 'finished') set(event.step, event.round)
  else if (event.kind === 'resumed') set(event.step)
  else if (event.kind === 'final') progress.validationLoss = event.ownLoss
  else if (event.kind === 'contributions') progress.set = setOf(event)
  else advancePipeline(progress, event)
}

/** Takes in what happens to stages. */
function advancePipeline(progress: Progress, event: OwnEvent): void {
  const { stages = [], flow } = progress.pipeline ?? {}
  if (event.kind === 'stage-taken') {
    const held = [...new Set([...stages, event.stage])].sort((a, b) => a - b)
    progress.pipeline = { ...progress.pipeline, stages: held }
    if (progress.phase === 'joining') progress.phase = 'training'
  } else if (event.kind === 'stage-left') {
    progress.pipeline = { ...progress.pipeline, stages: stages.filter((stage) => stage !== event.stage) }
  } else if (event.kind === 'pipeline') {
    const { holders, inFlight } = event
    const { microbatches, retries, recoveries, stalledSeconds } = flow ?? NO_FLOW
    const sums = { microbatches: microbatches + event.microbatches, retries: retries + event.retries }
    progress.pipeline = { stages, flow: { holders, inFlight, ...sums, recoveries, stalledSeconds } }
  } else if (event.kind === 'stage-recovered') {
    const { recoveries, stalledSeconds, ...rest } = flow ?? NO_FLOW
    const stalled = stalledSeconds + event.milliseconds / 1_000
    progress.pipeline = { stages, flow: { ...rest, recoveries: recoveries + 1, stalledSeconds: stalled } }
  }
}

const NO_FLOW: NonNullable<PipelineStatus['flow']> = {
  holders: [],
  inFlight: 0,
  microbatches: 0,
  retries: 0,
  recoveries: 0,
  stalledSeconds: 0,
}

const setOf = ({ contributions, authors, digest }: SetStatus): SetStatus => ({ contributions, authors, digest })

/** Peers whose sets are remembered; the one that told of its own longest ago makes room. */
const MAX_SETS = 1_024

/** The sets of contributions that the peers told of last, kept up to date by their events. */
export function followSets(events: EventLog): ReadonlyMap<PeerName, SetStatus> {
  const sets = new Map<PeerName, SetStatus>() // at most MAX_SETS
  events.listen((event) => {
    if (event.kind !== 'contributions') return
    sets.delete(event.peer)
    sets.set(event.peer, setOf(event))
    if (sets.size > MAX_SETS) sets.delete(sets.keys().next().value as PeerName)
  })
  return sets
}

/** What the heartbeats say of this node; numbers that are not finite stay out of them. */
export function announcement(progress: Progress, traffic: { sent: number; received: number }): Partial<MemberStatus> {
  const finite = (key: 'loss' | 'validationLoss'): Partial<MemberStatus> => {
    const value = progress[key]
    return value !== null && Number.isFinite(value) ? { [key]: value } : {}
  }
  return { bytesSent: traffic.sent, bytesReceived: traffic.received, ...finite('loss'), ...finite('validationLoss') }
}

export interface StateModules {
  run: Run
  network: Network
  swarm: RunningSwarm
  metrics: Metrics
  progress: Progress
  sets: ReadonlyMap<PeerName, SetStatus>
  options: NodeOptions
  folder: string
  startedAt: number
}

/** A link by which others join, with the bootstrap nodes that are connected now; empty while nobody could join by it. */
export function linkOf(run: Run, network: Network, name?: string): string {
  const peers = bestFirst(network.addresses())
  // One address of each, as the user or the link named it.
  const nodes = new Map(
    network.bootstrap().flatMap((one) => (one.service && one.peer ? [[one.peer, one.address]] : [])),
  )
  const via = [...nodes].map(([peer, address]) => (address.includes('/p2p/') ? address : `${address}/p2p/${peer}`))
  if (peers.length === 0 && via.length === 0 && name === undefined) return ''
  return formatLink({
    run: run.id,
    peers,
    ...(via.length === 0 ? {} : { via }),
    ...(name === undefined ? {} : { network: name }),
    name: run.manifest.name,
  })
}

export function statusOf({
  run,
  network,
  swarm,
  metrics,
  progress,
  options,
  folder,
  startedAt,
}: StateModules): NodeStatus {
  const { wire, rejected } = network.counters()
  const { model } = run.manifest
  return {
    peer: network.self,
    name: options.name ?? '',
    run: run.id,
    runName: run.manifest.name,
    link: linkOf(run, network, options.network),
    version: VERSION,
    strategy: run.manifest.strategy.name,
    model: { preset: 'preset' in model ? model.preset : model.architecture, parameters: run.layout.parameters },
    steps: run.training.steps,
    members: swarm.members().length + 1,
    connections: network.connected().length,
    listen: bestFirst(network.addresses()),
    reachability: network.reachability(),
    ...(Object.keys(rejected).length === 0 ? {} : { refused: rejected }),
    bytesSent: wire.sent,
    bytesReceived: wire.received,
    eventLoop: metrics.eventLoop(),
    memory: { rss: process.memoryUsage.rss() },
    uptimeSeconds: (performance.now() - startedAt) / 1_000,
    pid: process.pid,
    dataFolder: folder,
    ...(options.attack === undefined ? {} : { attack: options.attack }),
    ...progress,
    phase: phaseOf(progress, swarm),
    step: stepOf(progress, swarm),
  }
}

/** A spare peer of a pipeline takes part without anything happening at it. */
const phaseOf = ({ phase }: Progress, swarm: RunningSwarm): Progress['phase'] =>
  phase === 'joining' && swarm.status().phase === 'training' ? 'training' : phase

/** Peers that only hold stages of a pipeline report no steps, but they say in their heartbeats how far they are. */
const stepOf = (progress: Progress, swarm: RunningSwarm): number => Math.max(progress.step, swarm.status().step)

export function peersOf({ network, swarm, progress, sets, options }: StateModules): PeerStatus[] {
  const now = swarm.clock.now()
  const connected = new Set(network.connected())
  const links = bestLinks(network.links())
  const { wire } = network.counters()
  const connection = (peer: PeerName): Pick<PeerStatus, 'connection'> => {
    const link = links.get(peer)
    return link === undefined ? {} : { connection: { via: link.kind, address: link.address } }
  }
  const told = (peer: PeerName): { set?: SetStatus } => {
    const set = sets.get(peer)
    return set === undefined ? {} : { set }
  }
  const self: PeerStatus = {
    peer: network.self,
    ...(options.name === undefined ? {} : { name: options.name }),
    self: true,
    connected: true,
    silentFor: 0,
    phase: phaseOf(progress, swarm),
    step: stepOf(progress, swarm),
    round: progress.round,
    loss: progress.loss,
    validationLoss: progress.validationLoss,
    ...told(network.self),
    bytesSent: wire.sent,
    bytesReceived: wire.received,
    addresses: network.addresses(),
  }
  const others = swarm.members().map(
    ({ peer, seenAt, status }): PeerStatus => ({
      peer,
      self: false,
      connected: connected.has(peer),
      ...connection(peer),
      silentFor: Math.max(0, now - seenAt),
      phase: status.phase,
      step: status.step,
      round: status.round,
      loss: status.loss ?? null,
      validationLoss: status.validationLoss ?? null,
      ...told(peer),
      bytesSent: status.bytesSent,
      bytesReceived: status.bytesReceived,
      standing: network.standing(peer),
      addresses: network.addressesOf(peer),
    }),
  )
  return [self, ...others]
}
