import { Command } from 'commander'
import { callApi } from '../../api/index.ts'
import type { NodeStatus, PeerStatus } from '../../types.ts'
import { describeSet, formatBytes, formatDuration, formatLoss, shortName } from '../../view/index.ts'
import { createOutput, plain, table } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

/** `starling peers`: everyone in the run that a node knows. */
export function peers(): Command {
  const command = new Command('peers').description('who is in the run, as a running node sees it')
  for (const option of placeOptions()) command.addOption(option)
  return command.addHelpText('after', '\nExample:\n  $ starling peers').action(async (flags: PlaceFlags) => {
    const output = createOutput(flags.json === true)
    const node = locate(flags)
    const list = await callApi<PeerStatus[]>(node, 'GET', 'api/peers')
    const { refused = {} } = await callApi<NodeStatus>(node, 'GET', 'api/status')
    for (const peer of list) output.record({ kind: 'peer', ...peer })
    output.summary({ peers: list.length, connected: list.filter((peer) => peer.connected).length, refused })
    const sets = list.some((peer) => peer.set !== undefined)
    const rows = list.map((peer) => [
      plain(peer.name ?? shortName(peer.peer)) + (peer.self ? ' (this node)' : ''),
      peer.phase,
      peer.step,
      peer.round,
      formatLoss(peer.loss),
      formatLoss(peer.validationLoss),
      ...(sets ? [peer.set === undefined ? '–' : describeSet(peer.set)] : []),
      formatBytes(peer.bytesSent),
      formatBytes(peer.bytesReceived),
      peer.self
        ? ''
        : `${peer.connected ? 'connected' : 'not connected'}, heard ${formatDuration(peer.silentFor / 1000)} ago${against(peer)}`,
    ])
    const set = sets ? ['set'] : []
    output.line(table(['peer', 'phase', 'step', 'round', 'loss', 'validation', ...set, 'sent', 'received', ''], rows))
    // Those who may not take part are in no list of peers.
    const reasons = Object.entries(refused).map(([reason, times]) => `${reason} ${times}`)
    if (reasons.length > 0) output.line(`refused since the start: ${reasons.join(', ')}`)
  })
}

/** What is held against a peer, if anything was ever refused. */
function against({ standing }: PeerStatus): string {
  const refused = Object.entries(standing?.refused ?? {}).map(([reason, times]) => `${reason} ${times}`)
  return standing === undefined || refused.length === 0
    ? ''
    : `, score ${standing.score.toFixed(1)}: ${refused.join(', ')}`
}
