/** The command line. Every command is a file of its own in commands/, and loads what it needs when it runs: help is instant. */
import '../shims.ts'
import { Command, CommanderError } from 'commander'
import { bench } from './commands/bench.ts'
import { bootstrap } from './commands/bootstrap.ts'
import { bundle } from './commands/bundle.ts'
import { doctor } from './commands/doctor.ts'
import { evaluate } from './commands/evaluate.ts'
import { events } from './commands/events.ts'
import { explain } from './commands/explain.ts'
import { generate } from './commands/generate.ts'
import { init } from './commands/init.ts'
import { inspect } from './commands/inspect.ts'
import { join } from './commands/join.ts'
import { peers } from './commands/peers.ts'
import { replay } from './commands/replay.ts'
import { simulate } from './commands/simulate.ts'
import { start } from './commands/start.ts'
import { status } from './commands/status.ts'
import { stop } from './commands/stop.ts'
import { swarm } from './commands/swarm.ts'
import { codeOf, exitCodeOf, FAILED, lineOf, OK } from './errors.ts'
import { version } from './program.ts'

function build(report: (code: number) => void): Command {
  const program = new Command('starling')
    .description('Many machines train one model together, and nobody leads.')
    .version(version())
    .showSuggestionAfterError()
    .exitOverride()
    .configureHelp({ sortSubcommands: false, helpWidth: 110 })
    .addHelpText(
      'after',
      '\nExample:\n  $ starling swarm --peers 4          train on this machine, and watch it in a browser\n  $ starling join LINK                add this machine to a run\n\nExit codes: 0 done, 1 the run failed, 2 a mistake in what was asked.',
    )
  // Errors are printed once, below, in one line.
  const quiet = { outputError: () => {} }
  program.configureOutput(quiet)
  for (const command of [
    swarm,
    init,
    start,
    join,
    bootstrap,
    status,
    peers,
    events,
    explain,
    stop,
    generate,
    evaluate,
    inspect,
    replay,
    simulate,
    doctor,
    bundle,
    bench,
  ]) {
    const made = command(report)
    prepare(made)
    program.addCommand(made)
  }
  return program

  function prepare(command: Command): void {
    command.copyInheritedSettings(program)
    command.configureOutput(quiet).showSuggestionAfterError().exitOverride()
    for (const child of command.commands) prepare(child)
  }
}

/** Runs one command line. Resolves to the exit code; prints at most one line for an error. */
export async function main(args: readonly string[]): Promise<number> {
  let code = OK
  // Whoever reads our lines may stop reading (head, less): that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(OK)
    throw error
  })
  // A library that fails where nobody can catch it. A node has a guard of its own, which writes a checkpoint first.
  process.on('uncaughtException', (error) => {
    if (process.listenerCount('uncaughtException') > 1) return
    if (code === OK) console.error(`starling: ${lineOf(error)}`)
    process.exit(code === OK ? FAILED : code) // what follows from an error that was told adds nothing
  })
  try {
    const program = build((reported) => {
      code = Math.max(code, reported)
    })
    if (args.length === 0) {
      program.outputHelp()
      return OK
    }
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    // --help and --version end by an exception too.
    if (error instanceof CommanderError && error.exitCode === 0) return OK
    code = exitCodeOf(error)
    if (args.includes('--json'))
      console.log(JSON.stringify({ kind: 'error', code: codeOf(error), message: lineOf(error) }))
    console.error(`starling: ${lineOf(error)}`)
    if (process.env.STARLING_DEBUG !== undefined && error instanceof Error) console.error(error.stack)
  }
  return code
}
