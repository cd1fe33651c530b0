import { resolve } from 'node:path'
import { Command } from 'commander'
import { parseLink } from '../../../protocols/index.ts'
import { discoveryOf } from '../discovery.ts'
import { optionsOf, runForeground } from '../foreground.ts'
import { type NodeFlags, nodeOptions } from '../options.ts'
import { HOME } from '../place.ts'
import { folderName } from './start.ts'

/** `starling join LINK`: one more peer. */
export function join(): Command {
  const command = new Command('join')
    .description('join a run by its link, take over its state from a peer, and train')
    .argument('<link>', 'what "starling start" or "starling swarm" printed')
  for (const option of nodeOptions()) command.addOption(option)
  return command
    .addHelpText(
      'after',
      "\nExample:\n  $ starling join 'starling://bafyrei...?peer=/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...'\n\nThe same command again comes back with the same identity.",
    )
    .action(async (link: string, flags: NodeFlags) => {
      const parsed = parseLink(link)
      const { run, name } = parsed
      const folder = flags.dataFolder ?? `${HOME}/${folderName(name ?? 'run')}-${run.slice(-8)}-joined`
      const options = await discoveryOf(optionsOf(flags, resolve(folder)), flags, parsed)
      await runForeground({ ...options, link }, flags)
    })
}
