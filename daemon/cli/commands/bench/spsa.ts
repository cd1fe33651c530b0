import { Command, Option } from 'commander'
import type { SpeedFigures } from '../../../bench/spsa/speed.ts'
import type { WireFigures } from '../../../bench/spsa/wire.ts'
import { jsonOption, whole } from '../../options.ts'
import { createOutput, type Output, table } from '../../output.ts'

interface SpsaFlags {
  part?: 'speed' | 'wire'
  parameters?: number
  directions: 'sign' | 'gaussian'
  runs?: number
  json?: true
}

/** `starling bench spsa`: what one byte per gradient costs. */
export function benchSpsa(): Command {
  return new Command('spsa')
    .description(
      'one byte per gradient: applying contributions on one core against a copy of memory, and bytes on the wire',
    )
    .addOption(new Option('--part <name>', 'measure this part only (default: both)').choices(['speed', 'wire']))
    .addOption(
      new Option('--parameters <count>', 'size of the model (default: 1, 10 and 100 million)').argParser(
        whole(1, 300_000_000),
      ),
    )
    .addOption(
      new Option('--directions <kind>', 'how directions are drawn').choices(['sign', 'gaussian']).default('sign'),
    )
    .addOption(new Option('--runs <count>', 'medians of that many runs').argParser(whole(1, 1000)))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling bench spsa --parameters 1000000 --json')
    .action(async ({ part, parameters, directions, runs, json }: SpsaFlags) => {
      const output = createOutput(json === true)
      const summary: { speed?: SpeedFigures[]; wire?: WireFigures[] } = {}
      if (part !== 'wire') {
        const { benchSpeed } = await import('../../../bench/spsa/speed.ts')
        summary.speed = benchSpeed({
          directions,
          ...(parameters === undefined ? {} : { parameters: [parameters] }),
          ...(runs === undefined ? {} : { runs }),
        })
        for (const figures of summary.speed) output.record({ kind: 'speed', ...figures })
        printSpeed(output, summary.speed)
      }
      if (part !== 'speed') {
        output.line('about seven minutes of messages between nodes on this machine ...')
        const { benchWire } = await import('../../../bench/spsa/wire.ts')
        summary.wire = await benchWire()
        for (const figures of summary.wire) output.record({ kind: 'wire', ...figures })
        printWire(output, summary.wire)
      }
      output.summary({ bench: 'spsa', ...summary })
    })
}

function printSpeed(output: Output, speed: readonly SpeedFigures[]): void {
  const giga = (value: number): string => `${(value / 1e9).toFixed(2)} G/s`
  const rows = speed.map((figures) => [
    figures.parameters.toLocaleString('en'),
    figures.contributionsPerSecond.toPrecision(3),
    giga(figures.perSecond),
    giga(figures.perSecondAlone),
    figures.twin === undefined ? '–' : giga(figures.twin),
    giga(figures.perturb),
    giga(figures.refresh),
    `${(100 * figures.memoryShare).toFixed(1)} %`,
  ])
  const head = ['parameters', 'contributions/s', 'batched', 'one by one', 'twin', 'perturb', 'refresh', 'of a copy']
  output.line(table(head, rows))
  output.line()
  const [first] = speed
  if (first !== undefined) {
    output.line(
      `G/s: 10^9 parameters a second, times contributions; ${first.directions} directions, batches of ${first.batch}; medians of ${first.runs} runs, processor time`,
    )
  }
}

function printWire(output: Output, wire: readonly WireFigures[]): void {
  const rows = wire.flatMap(({ peers, idle, heartbeats, batches }) =>
    batches.map(({ batch, perPeer, perSwarm, gossip, sync }) => [
      peers,
      batch,
      perPeer.toFixed(1),
      perSwarm.toFixed(1),
      gossip.toFixed(1),
      sync.toFixed(1),
      (idle + heartbeats).toFixed(0),
    ]),
  )
  const head = ['peers', 'batch', 'bytes/peer', 'bytes/swarm', 'gossip', 'sync', 'idle B/s']
  output.line(table(head, rows))
  output.line()
  output.line(
    'bytes sent for one gradient of anybody: by each peer, and by all, beyond idle: what a peer sends when nobody contributes; ' +
      'gossip and sync (anti-entropy that found another set) are parts of the first',
  )
}
