import { Command } from 'commander'
import { callApi } from '../../api/index.ts'
import type { NodeStatus } from '../../types.ts'
import {
  describePipeline,
  describeReachability,
  describeSet,
  formatBytes,
  formatDuration,
  formatLoss,
} from '../../view/index.ts'
import { createOutput } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

/** `starling status`: what a running node does. */
export function status(): Command {
  const command = new Command('status').description('what a running node does')
  for (const option of placeOptions()) command.addOption(option)
  return command.addHelpText('after', '\nExample:\n  $ starling status --json').action(async (flags: PlaceFlags) => {
    const output = createOutput(flags.json === true)
    const state = await callApi<NodeStatus>(locate(flags), 'GET', 'api/status')
    output.summary({ ...state })
    const rows: [string, string][] = [
      ['run', `${state.runName} (${state.run})`],
      ['peer', [state.name, state.peer].filter((text) => text !== '').join(', ')],
      ['phase', `${state.phase}, step ${state.step} of ${state.steps}, round ${state.round}`],
      ['loss', `training ${formatLoss(state.loss)}, validation ${formatLoss(state.validationLoss)}`],
      ...(state.set === undefined ? [] : [['set', describeSet(state.set)] as [string, string]]),
      ...(state.pipeline === undefined ? [] : [['pipeline', describePipeline(state.pipeline)] as [string, string]]),
      ['peers', `${state.members} in the run, ${state.connections} connections`],
      ...(state.reachability === undefined
        ? []
        : [['reach', describeReachability(state.reachability)] as [string, string]]),
      ['sent', `${formatBytes(state.bytesSent)}, received ${formatBytes(state.bytesReceived)}`],
      ['model', `${state.model.preset}, ${state.model.parameters.toLocaleString('en')} parameters, ${state.strategy}`],
      ['engine', `${state.engine.name}: ${state.engine.why}`],
      ['event loop', `99 % below ${state.eventLoop.p99.toFixed(1)} ms, longest ${state.eventLoop.max.toFixed(1)} ms`],
      [
        'process',
        `${state.pid}, up ${formatDuration(state.uptimeSeconds)}, ${formatBytes(state.memory.rss)} of memory`,
      ],
      ['folder', state.dataFolder],
      ['link', state.link],
    ]
    for (const [name, value] of rows) output.line(`${name.padEnd(11)}${value}`)
  })
}
