import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { discoveryOf } from '../discovery.ts'
import { optionsOf, runForeground } from '../foreground.ts'
import { openFrom, withWeights } from '../from.ts'
import { type NodeFlags, nodeOptions } from '../options.ts'
import { HOME } from '../place.ts'
import { readUserFile } from '../run-file.ts'

/** `starling start RUN.yaml`: the first peer of a run. */
export function start(): Command {
  const command = new Command('start')
    .description('start a run as its first peer, print the link by which others join, and train')
    .argument('<run.yaml>', 'what is trained and how; "starling init" writes one')
  for (const option of nodeOptions()) command.addOption(option)
  return command
    .addHelpText(
      'after',
      '\nExample:\n  $ starling init run.yaml && starling start run.yaml\n\nThe same command again goes on from the newest checkpoint.',
    )
    .action(async (file: string, flags: NodeFlags) => {
      const text = new TextDecoder().decode(readUserFile(file))
      const { parseRun } = await import('../../run/index.ts')
      const given = parseRun(text, basename(file))
      const run = flags.from === undefined ? given : await withWeights(given, await openFrom(flags.from))
      const folder = flags.dataFolder ?? `${HOME}/${folderName(run.manifest.name)}-${run.id.slice(-8)}`
      const options = await discoveryOf(optionsOf(flags, resolve(folder)), flags)
      await runForeground({ ...options, manifest: run.bytes }, flags)
    })
}

/** A run's name as the name of a folder. */
export function folderName(name: string): string {
  return (
    name
      .normalize('NFKD')
      .replace(/[^\w.-]+/g, '-')
      .replace(/^[.-]+|[.-]+$/g, '')
      .slice(0, 40) || 'run'
  )
}
