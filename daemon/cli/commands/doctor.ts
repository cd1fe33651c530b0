import { Command, Option } from 'commander'
import { FAILED } from '../errors.ts'
import { jsonOption, whole } from '../options.ts'
import { createOutput } from '../output.ts'

interface Flags {
  dataFolder?: string
  port?: number
  engine?: 'native' | 'wasm' | 'js'
  json?: true
}

const MARKS = { ok: '✓', warning: '!', problem: '✗' }

/** `starling doctor`: what this machine has, and what mends what is wrong. */
export function doctor(report: (code: number) => void): Command {
  return new Command('doctor')
    .description('look at engine, Node, memory, disk, clock and ports, and say what mends what is wrong')
    .option('--data-folder <folder>', 'folder whose disk is looked at')
    .addOption(new Option('--port <port>', 'port that the page should have').argParser(whole(1, 65_535)))
    .addOption(new Option('--engine <name>', 'engine to measure').choices(['native', 'wasm', 'js']))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling doctor')
    .action(async (flags: Flags) => {
      const output = createOutput(flags.json === true)
      const { diagnose } = await import('../../doctor/index.ts')
      const findings = await diagnose(
        {
          ...(flags.dataFolder === undefined ? {} : { dataFolder: flags.dataFolder }),
          ...(flags.port === undefined ? {} : { ports: [{ purpose: 'page', host: '127.0.0.1', port: flags.port }] }),
          ...(flags.engine === undefined ? {} : { engine: flags.engine }),
        },
        AbortSignal.timeout(120_000), // a slow machine multiplies its matrices in seconds
      )
      const width = Math.max(...findings.map(({ name }) => name.length))
      for (const finding of findings) {
        output.record({ kind: 'finding', ...finding })
        output.line(
          `${MARKS[finding.ok]} ${finding.name.padEnd(width)}  ${finding.value}${finding.detail === undefined ? '' : ` (${finding.detail})`}`,
        )
        if (finding.mend !== undefined) output.line(`  ${' '.repeat(width)}  → ${finding.mend}`)
      }
      const problems = findings.filter(({ ok }) => ok === 'problem').length
      const warnings = findings.filter(({ ok }) => ok === 'warning').length
      output.summary({ problems, warnings })
      if (problems === 0 && warnings === 0) output.line('All is well.')
      if (problems > 0) report(FAILED)
    })
}
