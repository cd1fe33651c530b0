import { Command } from 'commander'
import { callApi } from '../../api/index.ts'
import type { Explained } from '../../types.ts'
import { explanationLines, shortName } from '../../view/index.ts'
import { createOutput, plain } from '../output.ts'
import { locate, type PlaceFlags, placeOptions } from '../place.ts'

/** `starling explain`: what a running node does or waits for, why, and what can be done about it. */
export function explain(): Command {
  const command = new Command('explain')
    .description('what a running node does or waits for, why, and what can be done about it')
    .argument('[folder]', 'data folder of the node, as with --data-folder')
  for (const option of placeOptions()) command.addOption(option)
  return command
    .addHelpText('after', '\nExample:\n  $ starling explain')
    .action(async (folder: string | undefined, flags: PlaceFlags) => {
      const output = createOutput(flags.json === true)
      const place = locate(folder === undefined ? flags : { ...flags, dataFolder: folder })
      const explained = await callApi<Explained[]>(place, 'GET', 'api/explain')
      const now = Date.now()
      for (const each of explained) {
        output.record({ kind: 'explain', ...each })
        const [first = '', ...rest] = explanationLines(each, now).map(plain)
        const who = explained.length > 1 ? `${plain(each.name) || shortName(each.peer)}: ` : ''
        output.line(`${who}${first}`)
        for (const line of rest) output.line(`${who === '' ? '' : '  '}${line}`)
      }
      const states = Object.fromEntries(explained.map(({ peer, name, state }) => [peer || name, state]))
      output.summary({ states, advice: explained.flatMap(({ advice }) => advice) })
    })
}
