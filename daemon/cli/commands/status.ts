import { Command } from 'commander'
import { callApi } from '../../api/index.ts'
import type { BootstrapReport } from '../../bootstrap/index.ts'
import type { NodeStatus } from '../../types.ts'
import {
  describePipeline,
  describeReachability,
  describeSet,
  formatBytes,
  formatDuration,
  formatLoss,
} from '../../view/index.ts'
import { createOutput, plain } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

type Rows = readonly (readonly [name: string, value: string])[]

/** `starling status`: what a running node does, or a bootstrap node. */
export function status(): Command {
  const command = new Command('status').description('what a running node does, or a bootstrap node')
  for (const option of placeOptions()) command.addOption(option)
  return command.addHelpText('after', '\nExample:\n  $ starling status --json').action(async (flags: PlaceFlags) => {
    const output = createOutput(flags.json === true)
    const state = await callApi<NodeStatus | BootstrapReport>(locate(flags), 'GET', 'api/status')
    output.summary({ ...state })
    const rows = 'role' in state ? bootstrapRows(state) : nodeRows(state)
    for (const [name, value] of rows) output.line(`${name.padEnd(11)}${value}`)
  })
}

function nodeRows(state: NodeStatus): Rows {
  return [
    ['run', `${state.runName} (${state.run})`],
    ['peer', [state.name, state.peer].filter((text) => text !== '').join(', ')],
    ['phase', `${state.phase}, step ${state.step} of ${state.steps}, round ${state.round}`],
    ['loss', `training ${formatLoss(state.loss)}, validation ${formatLoss(state.validationLoss)}`],
    ...(state.set === undefined ? [] : [['set', describeSet(state.set)] as const]),
    ...(state.pipeline === undefined ? [] : [['pipeline', describePipeline(state.pipeline)] as const]),
    ['peers', `${state.members} in the run, ${state.connections} connections`],
    ...(state.reachability === undefined ? [] : [['reach', describeReachability(state.reachability)] as const]),
    ['sent', `${formatBytes(state.bytesSent)}, received ${formatBytes(state.bytesReceived)}`],
    ['model', `${state.model.preset}, ${state.model.parameters.toLocaleString('en')} parameters, ${state.strategy}`],
    ['engine', `${state.engine.name}: ${state.engine.why}`],
    ['event loop', `99 % below ${state.eventLoop.p99.toFixed(1)} ms, longest ${state.eventLoop.max.toFixed(1)} ms`],
    ['process', `${state.pid}, up ${formatDuration(state.uptimeSeconds)}, ${formatBytes(state.memory.rss)} of memory`],
    ['folder', state.dataFolder],
    ['link', state.link],
  ]
}

function bootstrapRows(state: BootstrapReport): Rows {
  const { registry, relay, dht, fellows } = state
  return [
    ['bootstrap', state.peer],
    ...state.addresses.map((address) => ['address', address] as const),
    [
      'peers',
      `${registry.peers} of ${registry.runs} runs lately, ${state.connections} connections, ${state.bans.length} banned`,
    ],
    [
      'relay',
      `${relay.reservations} peers reachable through it, ${relay.circuits} connections open, ${formatBytes(relay.bytes)} carried`,
    ],
    ...(dht === undefined ? [] : [['dht', `${state.dhtProtocol}, ${dht.table} nodes known`] as const]),
    ...fellows.map(
      ({ address, connected, error }) =>
        ['other', `${address}: ${connected ? 'connected' : plain(error ?? 'not connected')}`] as const,
    ),
    ['process', `${state.pid}, up ${formatDuration(state.uptimeSeconds)}, ${formatBytes(state.memory.rss)} of memory`],
    ['folder', state.dataFolder],
  ]
}
