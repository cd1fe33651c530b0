import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { Command, Option } from 'commander'
import { StarlingError } from '../../../protocols/index.ts'
import { createLog } from '../../log/index.ts'
import { type LocalSwarm, type SwarmFolder, startSwarm } from '../../swarm/index.ts'
import type { NodeEvent } from '../../types.ts'
import { describeEvent, describeStages, readable, shortName } from '../../view/index.ts'
import { FAILED } from '../errors.ts'
import { attack, jsonOption, pipelineOptions, whole } from '../options.ts'
import { createOutput, type Output, plain } from '../output.ts'
import { HOME } from '../place.ts'
import { onInterrupt } from '../process.ts'
import { programName } from '../program.ts'
import { createProgress, type Progress } from '../progress.ts'
import { summarize } from '../summary.ts'
import { prepareSwarm, type SwarmFlags } from '../swarm-run.ts'

/** Most peers on one machine: each is a process with an engine of its own. */
const MAX_PEERS = 64

/** Port of the page when nobody chose one and it is free, so that a bookmark lasts. */
const USUAL_PORT = 4280

/** Characters of a text that are shown between the bars; the page shows all. */
const SAMPLE_SHOWN = 160

/** `starling swarm`: a whole swarm on this machine. */
export function swarm(report: (code: number) => void): Command {
  const command = new Command('swarm')
    .description('train with several peers on this machine, each a process of its own, and watch them in a browser')
    .argument('[run.yaml]', 'what is trained and how, instead of the options that say so')
    .addOption(new Option('--peers <count>', 'peers to start (default: 4)').argParser(whole(1, MAX_PEERS)))
    .option('--strategy <name>', 'how they agree: noloco, gossip, spsa or pipeline (default: noloco)')
    .option('--model <preset>', 'gpt-nano, gpt-micro, gpt-small, digits-cnn or digits-mlp (default: by the data)')
    .option('--data <path|stories|digits>', 'a text file, or an embedded data set (default: stories)')
    .option('--from <path>', 'parameters to start from: the folder of a swarm, node or checkpoint, or a .safetensors')
    .addOption(new Option('--steps <count>', 'optimizer steps of each peer').argParser(whole(1, 1_000_000_000)))
    .addOption(new Option('--seed <number>', 'all randomness of the run starts here').argParser(whole(0)))
    .option('--name <name>', 'name of the run, for people')
    .option('--data-folder <folder>', `where everything lies (default: a new ${HOME}/runs/<name>-<n>)`)
    .option('--resume', 'go on with the newest swarm, or with the one in --data-folder')
    .addOption(
      new Option('--port <port>', `port of the page; 0 picks a free one (default: ${USUAL_PORT} if free)`).argParser(
        whole(0, 65_535),
      ),
    )
    .option('--open', 'open the page in a browser')
    .option('--stay', 'keep the page and the peers when the training is done')
    .option('--no-restart', 'leave a peer down that died')
    .option('--local', 'listen on this machine only; nobody else can join')
    .addOption(
      new Option('--threads <count>', 'threads of each peer (default: the cores divided by the peers)').argParser(
        whole(1, 1024),
      ),
    )
    .addOption(
      new Option('--engine <name>', 'engine to compute with (default: the best one here)').choices([
        'native',
        'wasm',
        'js',
      ]),
    )
    .addOption(
      new Option(
        '--attack <name[:strength]>',
        'one of the peers lies in this way, to see what comes of it; may be given several times',
      ).argParser(attack),
    )
  for (const option of [...pipelineOptions(), jsonOption()]) command.addOption(option)
  return command
    .addHelpText(
      'after',
      '\nExample:\n  $ starling swarm --peers 4 --data my.txt --steps 1000\n  $ starling swarm --strategy pipeline --peers 5\n  $ starling swarm --resume',
    )
    .action(async (file: string | undefined, flags: SwarmFlags) => {
      const output = createOutput(flags.json === true)
      const { folder, run, peers, data, weights } = await prepareSwarm(file, flags)
      if ((flags.attack?.length ?? 0) >= peers) {
        folder.discard()
        throw new StarlingError(
          'usage',
          `--attack: ${flags.attack?.length} liars among ${peers} peers; at least one must be honest`,
        )
      }
      const aborter = new AbortController()
      const voice = { say: output.note }
      let running: LocalSwarm | undefined
      let interrupted = false
      const release = onInterrupt(
        (signal) => {
          interrupted = true
          aborter.abort()
          void running?.stop(`${signal} received`)
        },
        (text) => voice.say(text),
      )
      try {
        output.line(
          `Starting ${peers} ${peers === 1 ? 'peer' : 'peers'}: ${run.manifest.strategy.name}, ${modelName(run.manifest.model)}, ${run.layout.parameters.toLocaleString('en')} parameters, ${run.training.steps} steps each`,
        )
        for (const [i, how] of (flags.attack ?? []).entries())
          output.line(`peer-${peers - (flags.attack?.length ?? 0) + i + 1} LIES TO THE OTHERS, as asked for: ${how}`)
        const log = createLog({ format: 'human', level: 'warn' })
        const options = {
          folder: folder.path,
          runName: run.manifest.name,
          peers,
          threads: flags.threads ?? Math.max(1, Math.floor(availableParallelism() / peers)),
          local: flags.local === true,
          ...(data === undefined ? {} : { data }),
          ...(weights === undefined ? {} : { weights }),
          ...(flags.engine === undefined ? {} : { engine: flags.engine }),
          restart: flags.restart,
          ...(flags.attack === undefined ? {} : { attacks: flags.attack }),
        }
        const swarm = await startOnPort(flags.port, (port) =>
          startSwarm({ ...options, api: { host: '127.0.0.1', port } }, { log, signal: aborter.signal }),
        )
        running = swarm
        if (interrupted) void swarm.stop('interrupted')
        const end = await watch(swarm, { output, flags, folder, steps: run.training.steps, voice })
        const summary = summarize(swarm, { folder: folder.path, runName: run.manifest.name, kind: run.facts.kind, end })
        await swarm.close()
        for (const line of summary.lines) output.line(line)
        if (interrupted || end === 'stopped')
          output.line(
            `Go on with: ${programName()} swarm --resume${flags.dataFolder === undefined ? '' : ` --data-folder ${flags.dataFolder}`}`,
          )
        output.summary(summary.json)
        if (swarm.peers.some(({ state }) => state === 'failed') || summary.json.sameParameters === false) report(FAILED)
      } catch (error) {
        await running?.close()
        folder.discard()
        if (interrupted && error instanceof StarlingError && error.code === 'aborted') return
        throw error
      } finally {
        release()
      }
    })
}

const modelName = (model: object): string =>
  String(
    (model as { preset?: unknown; architecture?: unknown }).preset ??
      (model as { architecture?: unknown }).architecture,
  )

/** The chosen port, or the usual one, or any free one if that is taken. */
async function startOnPort(
  chosen: number | undefined,
  begin: (port: number) => Promise<LocalSwarm>,
): Promise<LocalSwarm> {
  if (chosen !== undefined) return await begin(chosen)
  try {
    return await begin(USUAL_PORT)
  } catch (error) {
    if (!(error instanceof StarlingError) || error.code !== 'port-in-use') throw error
    return await begin(0)
  }
}

/** Shows the swarm until it is done or stopped. */
async function watch(
  swarm: LocalSwarm,
  context: {
    output: Output
    flags: SwarmFlags
    folder: SwarmFolder
    steps: number
    voice: { say(text: string): void }
  },
): Promise<'finished' | 'stopped'> {
  const { output, flags, folder, voice } = context
  output.record({ kind: 'ready', page: swarm.page, link: swarm.link(), folder: folder.path, peers: swarm.peers.length })
  output.line()
  output.line(`  page    ${swarm.page}`)
  output.line(`  join    ${programName()} join '${swarm.link()}'`)
  output.line(`  folder  ${relative(process.cwd(), folder.path) || '.'}`)
  output.line()
  if (flags.open === true) openBrowser(swarm.page)
  const progress = createProgress(output.live, (text) => output.line(text))
  // Between the bars, so that they do not paint over it.
  if (output.live) voice.say = progress.line
  const name = (peer: string): string => swarm.nameOf(peer) ?? shortName(peer)
  const unsubscribe = swarm.onEvent((event) => {
    output.record({ ...event, name: name(event.peer) })
    note(event, swarm, progress, name)
  })
  const partners = new Map<string, string>() // one per peer of this swarm
  const partnerWatch = swarm.onEvent((event) => {
    if (event.kind === 'exchange' && swarm.nameOf(event.peer) !== undefined)
      partners.set(event.peer, name(event.partner))
  })
  const draw = (): void => {
    for (const peer of swarm.peers) {
      const { status } = peer
      const partner = partners.get(peer.ready?.peer ?? '')
      const phase = status?.phase ?? 'starting'
      const note =
        peer.state !== 'running'
          ? peer.state
          : partner === undefined || phase !== 'training'
            ? phase
            : `with ${partner}`
      progress.update(peer.name, {
        name: status?.attack === undefined ? peer.name : `${peer.name} (lies)`,
        step: status?.step ?? 0,
        steps: context.steps,
        round: status?.round ?? 0,
        ...(status?.set === undefined ? {} : { contributions: status.set.contributions }),
        ...(status?.pipeline === undefined ? {} : { part: describeStages(status.pipeline.stages) }),
        loss: status?.loss ?? null,
        validationLoss: status?.validationLoss ?? null,
        note,
      })
    }
  }
  const timer = setInterval(draw, 500)
  try {
    let end = await swarm.finished
    if (end === 'finished' && flags.stay === true) {
      draw()
      progress.line('Finished; the page and the peers stay until Ctrl-C.')
      await new Promise<void>((resolve) => {
        const poll = setInterval(() => {
          if (!swarm.peers.every(({ alive }) => !alive)) return
          clearInterval(poll)
          resolve()
        }, 200)
      })
      end = 'finished'
    }
    return end
  } finally {
    clearInterval(timer)
    unsubscribe()
    partnerWatch()
    draw()
    progress.stop()
    voice.say = output.note
  }
}

/** Kinds of events that deserve a line of their own between the bars. */
function note(event: NodeEvent, swarm: LocalSwarm, progress: Progress, name: (peer: string) => string): void {
  const guest = swarm.nameOf(event.peer) === undefined
  const worth =
    [
      'process-died',
      'process-restarted',
      'trainer-crashed',
      'trainer-restarted',
      'rejected',
      'resumed',
      'excluded',
      'plan',
      'stage-taken',
      'stage-left',
      'stage-lost',
      'stage-recovered',
      'plan-agreed',
    ].includes(event.kind) ||
    (event.kind === 'joined' && (guest || event.step > 0))
  // One peer's texts are enough, and before the first step there is nothing to read.
  const text = event.kind === 'sample' && event.step > 0 && swarm.peers[0]?.ready?.peer === event.peer
  if (text)
    progress.line(
      `${name(event.peer)} at step ${event.step} writes: ${readable(event.text).replace(/\s+/g, ' ').slice(0, SAMPLE_SHOWN)}`,
    )
  else if (worth) progress.line(plain(`${name(event.peer)} ${describeEvent(event, name)}`))
}

/** Opens the page with what the system has for that; without a browser nothing happens, the address is printed anyway. */
function openBrowser(url: string): void {
  const program = { darwin: 'open', win32: 'explorer' }[process.platform as string] ?? 'xdg-open'
  const child = spawn(program, [url], { stdio: 'ignore', detached: true })
  child.on('error', () => {}) // no desktop here
  child.unref()
}
