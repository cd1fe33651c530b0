/** What a local swarm came to, at its end. */
import { relative } from 'node:path'
import type { LocalSwarm } from '../swarm/index.ts'
import { formatBytes, formatDuration, formatLoss } from '../view/index.ts'
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
  }
  const rows = peers.map((peer) => [
    peer.name,
    peer.state,
    peer.step.toLocaleString('en'),
    peer.round,
    formatLoss(peer.validationLoss),
    formatBytes(peer.bytesSent),
    formatBytes(peer.bytesReceived),
    peer.restarts === 0 ? '' : `${peer.restarts} restarts`,
  ])
  const lines = ['', table(['peer', 'state', 'steps', 'rounds', 'validation', 'sent', 'received', ''], rows), '']
  for (const peer of peers) if (peer.failure !== undefined) lines.push(`${peer.name} failed: ${peer.failure}`)
  if (merged !== null) {
    const parts = [
      `merged model: validation loss ${formatLoss(merged.validationLoss)}`,
      `mean of ${merged.replicas} replicas`,
    ]
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

interface Merged {
  path: string
  replicas: number
  validationLoss: number
  disagreement: number
}

/** The average of the most replicas: every peer computes it for itself, of those that had finished. */
function mergedModel(swarm: LocalSwarm): Merged | null {
  let best: Merged | null = null
  for (const { final } of swarm.peers) {
    if (final === undefined || (best !== null && final.replicas <= best.replicas)) continue
    best = { path: final.path, replicas: final.replicas, validationLoss: final.loss, disagreement: final.deviation }
  }
  return best
}
