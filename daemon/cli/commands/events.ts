import { Command, Option } from 'commander'
import { followEvents, readEvents } from '../../api/index.ts'
import type { NodeEvent } from '../../types.ts'
import { describeEvent, shortName } from '../../view/index.ts'
import { whole } from '../options.ts'
import { createOutput, plain } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

interface Flags extends PlaceFlags {
  follow?: true
  after: number
  steps?: true
}

/** `starling events`: what happened, as a running node knows it. */
export function events(): Command {
  const command = new Command('events').description('what happened in the run, as a running node knows it')
  for (const option of placeOptions()) command.addOption(option)
  return command
    .addOption(new Option('--after <number>', 'only events numbered above this').argParser(whole(0)).default(0))
    .option('--follow', 'go on with what happens next, until Ctrl-C')
    .option('--steps', 'training steps too')
    .addHelpText('after', '\nExample:\n  $ starling events --follow')
    .action(async (flags: Flags) => {
      const output = createOutput(flags.json === true)
      const place = locate(flags)
      let shown = 0
      let last = flags.after
      const show = (event: NodeEvent): void => {
        last = Math.max(last, event.sequence)
        if (event.kind === 'step' && flags.steps !== true) return
        shown += 1
        output.record({ ...event })
        output.line(
          `${new Date(event.time).toLocaleTimeString('en-GB')}  ${shortName(event.peer)}  ${plain(describeEvent(event))}`,
        )
      }
      for (const event of await readEvents(place, flags.after)) show(event)
      if (flags.follow === true) {
        const stopped = new AbortController()
        process.once('SIGINT', () => stopped.abort())
        await followEvents(place, last, show, stopped.signal)
      }
      output.summary({ events: shown, last })
    })
}
