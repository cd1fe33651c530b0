/** What a local swarm came to, at its end. */
import { relative } from 'node:path'
import type { LocalSwarm } from '../swarm/index.ts'
import { describeStages, formatBytes, formatDuration, formatLoss } from '../view/index.ts'
import { table } from './output.ts'
import { programName } from './program.ts'

export interface Summary {
  /** For people. */
  lines: string[]
  /** The last line of --json. */
  json: Record<string, unknown>
}

interface Context {
  folder: string
  runName: string
  /** Of the run's data. */
  kind: 'text' | 'image'
  end: 'finished' | 'stopped'
}

/** Looks at every peer's last word and at the merged model, if there is one. */
export function summarize(swarm: LocalSwarm, context: Context): Summary {
  const peers = swarm.peers.map((peer) => ({
    name: peer.name,
    peer: peer.ready?.peer,
    state: peer.state,
    step: peer.status?.step ?? 0,
    round: peer.status?.round ?? 0,
    loss: peer.status?.loss ?? null,
    validationLoss: peer.status?.validationLoss ?? null,
    bytesSent: peer.status?.bytesSent ?? 0,
    bytesReceived: peer.status?.bytesReceived ?? 0,
    restarts: peer.restarts,
    ...(peer.status?.attack === undefined ? {} : { attack: peer.status.attack }),
    ...(peer.status?.set === undefined ? {} : { set: peer.status.set }),
    ...(peer.status?.pipeline === undefined ? {} : { stages: peer.status.pipeline.stages }),
    ...(peer.final?.sha256 === undefined ? {} : { sha256: peer.final.sha256 }),
    failure: peer.failure?.message,
  }))
  const merged = mergedModel(swarm)
  const seconds = (Date.now() - swarm.startedAt) / 1000
  const json = {
    end: context.end,
    folder: context.folder,
    run: context.runName,
    seconds: Math.round(seconds * 10) / 10,
    peers,
    merged,
    ...sameBits(peers)?.json,
  }
  const sets = peers.some((peer) => peer.set !== undefined)
  const staged = peers.some((peer) => peer.stages !== undefined)
  const rows = peers.map((peer) => [
    peer.name,
    peer.state,
    peer.step.toLocaleString('en'),
    sets
      ? (peer.set?.contributions ?? 0).toLocaleString('en')
      : staged
        ? describeStages(peer.stages ?? [])
        : peer.round,
    formatLoss(peer.validationLoss),
    formatBytes(peer.bytesSent),
    formatBytes(peer.bytesReceived),
    [
      peer.restarts === 0 ? '' : `${peer.restarts} ${peer.restarts === 1 ? 'restart' : 'restarts'}`,
      peer.attack === undefined ? '' : `lies: ${peer.attack}`,
    ].join(' '),
  ])
  const lines = [
    '',
    table(
      [
        'peer',
        'state',
        'steps',
        sets ? 'contributions' : staged ? 'held' : 'rounds',
        'validation',
        'sent',
        'received',
        '',
      ],
      rows,
    ),
    '',
  ]
  for (const peer of peers) if (peer.failure !== undefined) lines.push(`${peer.name} failed: ${peer.failure}`)
  const same = sameBits(peers)
  if (same !== undefined) lines.push(...same.lines)
  if (merged !== null) {
    const [title, origin] =
      merged.stages === undefined
        ? ['merged model', `mean of ${merged.replicas} replicas`]
        : ['whole model', `put together from ${merged.stages} ${merged.stages === 1 ? 'stage' : 'stages'}`]
    const parts =
      same === undefined
        ? [`${title}: validation loss ${formatLoss(merged.validationLoss)}`, origin]
        : [`validation loss ${formatLoss(merged.validationLoss)}`]
    if (merged.replicas > 1) parts.push(`disagreement ${merged.disagreement.toPrecision(2)}`)
    lines.push(parts.join(', '), `it lies in ${relative(process.cwd(), merged.path) || '.'}`)
  }
  lines.push(`after ${formatDuration(seconds)}`)
  if (merged !== null && context.kind === 'text') {
    lines.push(
      '',
      `Try it: ${programName()} generate ${relative(process.cwd(), merged.path) || '.'} --prompt 'Once' --tokens 200`,
    )
  }
  return { lines, json }
}

/**
 * Whether the peers ended with the same parameters, to the bit; undefined where they share no base and each has its own. A peer without a final model is
 * not counted.
 */
function sameBits(
  peers: readonly { name: string; sha256?: string }[],
): { lines: string[]; json: { sameParameters: boolean } } | undefined {
  const ended = peers.filter((peer) => peer.sha256 !== undefined)
  const hashes = new Set(ended.map(({ sha256 }) => sha256))
  if (hashes.size === 0) return undefined
  if (hashes.size === 1) {
    const who =
      ended.length === 1 ? `${ended[0]?.name} holds` : `all ${ended.length} peers hold the same parameters, to the bit:`
    return { lines: [`${who} SHA-256 ${ended[0]?.sha256}`], json: { sameParameters: true } }
  }
  const each = ended.map(({ name, sha256 }) => `  ${name}  ${sha256}`)
  return { lines: ['THE PEERS DO NOT HOLD THE SAME PARAMETERS; SHA-256:', ...each], json: { sameParameters: false } }
}

interface Merged {
  path: string
  replicas: number
  validationLoss: number
  disagreement: number
  /** Where it was put together from parts. */
  stages?: number
}

/** The average of the most replicas: every peer computes it for itself, of those that had finished. */
function mergedModel(swarm: LocalSwarm): Merged | null {
  let best: Merged | null = null
  for (const { final } of swarm.peers) {
    if (final === undefined || (best !== null && final.replicas <= best.replicas)) continue
    const { path, replicas, loss, deviation, stages } = final
    best = {
      path,
      replicas,
      validationLoss: loss,
      disagreement: deviation,
      ...(stages === undefined ? {} : { stages }),
    }
  }
  return best
}
