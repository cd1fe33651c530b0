import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { findEndpoints, readEndpoint } from '../../api/index.ts'
import { formatBytes } from '../../view/index.ts'
import { jsonOption } from '../options.ts'
import { createOutput } from '../output.ts'
import { HOME } from '../place.ts'
import { version } from '../program.ts'

interface Flags {
  out?: string
  maskAddresses?: true
  json?: true
}

/** `starling bundle`: a report about a node, without secrets, in one file. */
export function bundle(): Command {
  return new Command('bundle')
    .description(
      'write a report about a node into one file: versions, doctor, status, events, metrics and logs, without keys, tokens and texts',
    )
    .argument('[folder]', `data folder of the node, which need not run (default: the newest running one below ${HOME})`)
    .addOption(new Option('--out <file>', 'where to write it (default: starling-bundle-<time>.tar.gz here)'))
    .option('--mask-addresses', 'write stand-ins for IP addresses and host names')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling bundle --mask-addresses')
    .action(async (folder: string | undefined, flags: Flags) => {
      const output = createOutput(flags.json === true)
      const { dataFolder, endpoint } = placeOf(folder)
      const { collect, pack } = await import('../../bundle/index.ts')
      const path = resolve(
        flags.out ?? `starling-bundle-${new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, '-')}.tar.gz`,
      )
      const stopped = new AbortController()
      process.once('SIGINT', () => stopped.abort(new StarlingError('aborted', 'stopped')))
      const parts = await collect(
        {
          dataFolder,
          maskAddresses: flags.maskAddresses === true,
          version: version(),
          ...(endpoint === undefined ? {} : { place: endpoint }),
        },
        stopped.signal,
      )
      const bytes = await pack(parts, path)
      const rows = parts.map(({ name, about, text }) => ({ name, about, bytes: Buffer.byteLength(text) }))
      for (const row of rows) output.record({ kind: 'part', ...row })
      const width = Math.max(...rows.map(({ name }) => name.length))
      for (const row of rows)
        output.line(`${row.name.padEnd(width)}  ${formatBytes(row.bytes).padStart(7)}  ${row.about}`)
      output.summary({ path, bytes, parts: rows.length })
      output.line(`Written to ${path} (${formatBytes(bytes)}). Look through it before you hand it on.`)
    })
}

function placeOf(folder: string | undefined): { dataFolder: string; endpoint: ReturnType<typeof readEndpoint> } {
  if (folder !== undefined) {
    const dataFolder = resolve(folder)
    if (!existsSync(dataFolder)) throw new StarlingError('folder-missing', `There is no folder ${folder}`, { folder })
    return { dataFolder, endpoint: readEndpoint(dataFolder) }
  }
  const [newest] = findEndpoints(resolve(HOME))
  if (newest !== undefined) return newest
  throw new StarlingError(
    'node-not-running',
    `No node runs below ${resolve(HOME)}; name the data folder of one: starling bundle FOLDER`,
  )
}
