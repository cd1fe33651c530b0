/** The peers of a local swarm shown as if they were one node, for one API and one page that outlive each of them. */
import { Gauge, Registry } from 'prom-client'
import { formatLink, parseLink, StarlingError } from '../../protocols/index.ts'
import { type ApiNode, callApi } from '../api/index.ts'
import type { EventLog } from '../events/index.ts'
import type { NodeStatus, PeerStatus, SetStatus } from '../types.ts'
import { explainPeer } from './explain.ts'
import type { SwarmPeer } from './peer.ts'

export interface AsNodeOptions {
  folder: string
  runName: string
  startedAt: number
}

/** Makes the node-like view. `stop` ends the swarm. */
export function swarmAsNode(
  options: AsNodeOptions,
  modules: { peers: readonly SwarmPeer[]; log: EventLog; stop(reason: string): Promise<void> },
): ApiNode {
  const { peers, log } = modules
  const first = (): SwarmPeer | undefined => peers.find((peer) => peer.alive && peer.status !== undefined)
  return {
    status: () => statusOf(options, peers, first()),
    peers: () => rowsOf(peers, first()),
    explain: () => peers.map((peer) => explainPeer(peer, Date.now())),
    events: (after) => log.since(after),
    onEvent: (listener) => log.listen(listener),
    stop: modules.stop,
    metrics: () => metricsOf(peers),
    async generate(request) {
      const page = writer(peers)?.ready?.page
      if (page === undefined) throw new StarlingError('not-ready', 'No peer of this swarm runs at the moment')
      const { text } = await callApi<{ text: string }>({ url: page }, 'POST', 'api/generate', request)
      return text
    },
  }
}

/** A peer that can write text: of a pipeline, one with data, by way of which the stages are reached. */
function writer(peers: readonly SwarmPeer[]): SwarmPeer | undefined {
  const alive = peers.filter((peer) => peer.alive && peer.status !== undefined)
  return alive.find(({ status }) => status?.pipeline?.stages.includes(0)) ?? alive[0]
}

/** One link with the best address of every live peer first, so that it works whichever of them is down. */
export function linkOf(peers: readonly SwarmPeer[], runName: string): string {
  const links = peers.flatMap((peer) => (peer.ready === undefined ? [] : [parseLink(peer.ready.link)]))
  const [head] = links
  if (head === undefined) return ''
  const longest = Math.max(...links.map((link) => link.peers.length))
  const ordered = Array.from({ length: longest }, (_, index) => links.map((link) => link.peers[index])).flat()
  return formatLink({ run: head.run, peers: [...new Set(ordered.filter((peer) => peer !== undefined))], name: runName })
}

function statusOf(options: AsNodeOptions, peers: readonly SwarmPeer[], first: SwarmPeer | undefined): NodeStatus {
  const { attack: _, ...source } =
    first?.status ?? peers.find((peer) => peer.status !== undefined)?.status ?? NOTHING_YET
  const sum = (value: (status: NodeStatus) => number): number =>
    peers.reduce((total, { status }) => total + (status === undefined ? 0 : value(status)), 0)
  const most = (value: (status: NodeStatus) => number): number =>
    Math.max(0, ...peers.map(({ status }) => (status === undefined ? 0 : value(status))))
  const phase = peers.every(({ state }) => state === 'finished' || state === 'failed') ? 'finished' : source.phase
  return {
    ...source,
    peer: '',
    name: 'swarm',
    runName: options.runName,
    link: linkOf(peers, options.runName),
    phase,
    step: most(({ step }) => step),
    round: most(({ round }) => round),
    ...largest(peers),
    members: rowsOf(peers, first).length,
    bytesSent: sum(({ bytesSent }) => bytesSent),
    bytesReceived: sum(({ bytesReceived }) => bytesReceived),
    eventLoop: {
      p50: most((status) => status.eventLoop.p50),
      p99: most((status) => status.eventLoop.p99),
      max: most((status) => status.eventLoop.max),
    },
    memory: { rss: sum(({ memory }) => memory.rss) },
    uptimeSeconds: (Date.now() - options.startedAt) / 1000,
    pid: process.pid,
    dataFolder: options.folder,
  }
}

/** The set of the peer that holds most. */
function largest(peers: readonly SwarmPeer[]): { set?: SetStatus } {
  const sets = peers.flatMap(({ status }) => (status?.set === undefined ? [] : [status.set]))
  const [set] = sets.sort((a, b) => b.contributions - a.contributions)
  return set === undefined ? {} : { set }
}

const NOTHING_YET: NodeStatus = {
  peer: '',
  name: '',
  run: '',
  runName: '',
  link: '',
  version: '',
  phase: 'joining',
  strategy: '',
  model: { preset: '', parameters: 0 },
  engine: { name: '', why: '' },
  step: 0,
  steps: 0,
  round: 0,
  loss: null,
  validationLoss: null,
  members: 0,
  connections: 0,
  listen: [],
  bytesSent: 0,
  bytesReceived: 0,
  eventLoop: { p50: 0, p99: 0, max: 0 },
  memory: { rss: 0 },
  uptimeSeconds: 0,
  pid: process.pid,
  dataFolder: '',
}

/** The swarm's own peers by their own word, and whoever joined from elsewhere as the first live peer sees it. */
function rowsOf(peers: readonly SwarmPeer[], first: SwarmPeer | undefined): PeerStatus[] {
  const own = peers.flatMap((peer): PeerStatus[] => {
    const id = peer.ready?.peer
    if (id === undefined) return []
    const said = peer.peers.find(({ self }) => self)
    const blank = {
      phase: 'joining',
      step: 0,
      round: 0,
      loss: null,
      validationLoss: null,
      bytesSent: 0,
      bytesReceived: 0,
      addresses: [],
    }
    const phase =
      peer.state === 'down' || peer.state === 'failed'
        ? 'down'
        : peer.state === 'starting'
          ? 'starting'
          : (said?.phase ?? 'joining')
    return [
      {
        ...blank,
        ...said,
        peer: id,
        name: peer.name,
        ...(peer.status?.attack === undefined ? {} : { attack: peer.status.attack }),
        self: false,
        connected: peer.alive,
        silentFor: Date.now() - peer.heardAt,
        phase,
      },
    ]
  })
  const known = new Set(own.map(({ peer }) => peer))
  const guests = (first?.peers ?? []).filter(({ peer }) => !known.has(peer)).map((row) => ({ ...row, self: false }))
  return [...own, ...guests]
}

async function metricsOf(peers: readonly SwarmPeer[]): Promise<{ contentType: string; text: string }> {
  const registry = new Registry()
  const gauge = (name: string, help: string, value: (peer: SwarmPeer) => number | null | undefined): void => {
    const made = new Gauge({ name, help, labelNames: ['peer'], registers: [registry] })
    for (const peer of peers) {
      const read = value(peer)
      if (typeof read === 'number') made.set({ peer: peer.name }, read)
    }
  }
  gauge('starling_swarm_peer_up', 'Whether the process of the peer runs', (peer) => (peer.alive ? 1 : 0))
  gauge('starling_swarm_peer_restarts', 'Times that the peer was started again', (peer) => peer.restarts)
  gauge('starling_swarm_peer_step', 'Optimizer steps that the peer has taken', ({ status }) => status?.step)
  gauge(
    'starling_swarm_peer_validation_loss',
    'Newest validation loss of the peer',
    ({ status }) => status?.validationLoss,
  )
  gauge('starling_swarm_peer_sent_bytes', 'Bytes that the peer has sent', ({ status }) => status?.bytesSent)
  return { contentType: registry.contentType, text: await registry.metrics() }
}
