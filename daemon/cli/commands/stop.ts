import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { callApi } from '../../api/index.ts'
import { createOutput } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

/** Milliseconds that a node may take for its last checkpoint and its goodbye. */
const STOP_TIMEOUT = 15_000

/** `starling stop`: a clean stop with a checkpoint. */
export function stop(): Command {
  const command = new Command('stop').description(
    'stop a running node, bootstrap node or swarm cleanly, a node with a checkpoint',
  )
  for (const option of placeOptions()) command.addOption(option)
  return command.addHelpText('after', '\nExample:\n  $ starling stop').action(async (flags: PlaceFlags) => {
    const output = createOutput(flags.json === true)
    const place = locate(flags)
    const before = Date.now()
    await callApi(place, 'POST', 'api/stop')
    while (await answers(place)) {
      if (Date.now() - before > STOP_TIMEOUT)
        throw new StarlingError('stop-timeout', `The node did not stop within ${STOP_TIMEOUT / 1000} s`)
      await sleep(100)
    }
    const milliseconds = Date.now() - before
    output.summary({ stopped: place.url, milliseconds })
    output.line(`Stopped after ${(milliseconds / 1000).toFixed(1)} s.`)
  })
}

/** Somebody is still there, whatever it says. */
async function answers(place: Parameters<typeof callApi>[0]): Promise<boolean> {
  try {
    await callApi(place, 'GET', 'api/status')
    return true
  } catch (error) {
    return !(error instanceof StarlingError && error.code === 'node-not-running')
  }
}
