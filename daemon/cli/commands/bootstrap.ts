import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import { createLog } from '../../log/index.ts'
import type { BootstrapLoad } from '../../network/index.ts'
import { formatBytes } from '../../view/index.ts'
import { jsonOption, type LogFlags, logOptions, multiaddr, whole } from '../options.ts'
import { createOutput } from '../output.ts'
import { HOME } from '../place.ts'
import { onInterrupt } from '../process.ts'

/** Time between two looks whether there is something to tell, milliseconds. */
const TELL_EVERY = 10_000

interface Flags extends LogFlags {
  listen?: string[]
  announce?: string[]
  bootstrap?: string[]
  network?: string
  dht?: string
  maxRelayed?: number
  maxPeers?: number
  dataFolder: string
  apiHost: string
  apiPort: number
  json?: true
}

/** A protocol id, or a name that one is made of. */
function dhtProtocol(text: string): string {
  if (/^(\/[a-z0-9._-]{1,32}){1,6}$/.test(text)) return text
  if (/^[a-z0-9][a-z0-9-]{0,31}$/.test(text)) return `/starling/${text}/kad/1.0.0`
  throw new InvalidArgumentError('Must be a name such as my-network, or a protocol id such as /my-network/kad/1.0.0.')
}

/** `starling bootstrap`: a node without a run, which introduces and relays. */
export function bootstrap(): Command {
  const command = new Command('bootstrap').description(
    'run a node that introduces peers of any run to each other and relays for those that cannot be dialled',
  )
  for (const option of [
    new Option('--listen <multiaddr>', 'where to listen; may be given several times')
      .argParser(multiaddr)
      .default(undefined, '/ip4/0.0.0.0/tcp/7400'),
    new Option('--announce <multiaddr>', 'an address to tell others beside those').argParser(multiaddr),
    new Option('--network <name|file>', 'be a bootstrap node of this network: serve its DHT, and know its other nodes'),
    new Option('--bootstrap <multiaddr>', 'another bootstrap node; may be given several times').argParser(multiaddr),
    new Option(
      '--dht <name>',
      'serve the private DHT of this name (default: that of the network, if it has one)',
    ).argParser(dhtProtocol),
    new Option('--max-relayed <count>', 'peers that can be reached through this node (default: 256)').argParser(
      whole(0, 10_000),
    ),
    new Option('--max-peers <count>', 'peers that are connected (default: 512)').argParser(whole(1, 10_000)),
    new Option('--data-folder <folder>', 'where its identity is kept').default(`${HOME}/bootstrap`),
    new Option(
      '--api-host <host>',
      'address of its API, GET /health and /metrics; any but loopback needs a token',
    ).default('127.0.0.1'),
    new Option('--api-port <port>', 'port of these; 0 picks a free one').argParser(whole(0, 65_535)).default(0),
    ...logOptions(),
    jsonOption(),
  ]) {
    command.addOption(option)
  }
  return command
    .addHelpText(
      'after',
      '\nExample:\n  $ starling bootstrap --listen /ip4/0.0.0.0/tcp/7400 --announce /dns4/boot.example.org/tcp/7400\n\nPeers name one of its addresses with --bootstrap, or all of them in the file of a network (--network).',
    )
    .action(run)
}

async function run(flags: Flags): Promise<void> {
  const output = createOutput(flags.json === true)
  const stopped = new AbortController()
  const release = onInterrupt(
    () => stopped.abort(),
    (text) => output.note(text),
    { saves: false },
  )
  try {
    const { chooseNetwork } = await import('../../networks/index.ts')
    const { AMINO_PROTOCOL } = await import('../../network/index.ts')
    const { startBootstrap } = await import('../../bootstrap/index.ts')
    const network = chooseNetwork(flags.network)
    const protocol = flags.dht ?? network?.dht?.protocol
    // The public DHT has servers enough, and this node refuses what they must keep.
    const serves = protocol !== undefined && protocol !== AMINO_PROTOCOL
    const node = await startBootstrap(
      {
        dataFolder: resolve(flags.dataFolder),
        listen: flags.listen ?? ['/ip4/0.0.0.0/tcp/7400'],
        announce: flags.announce ?? [],
        bootstrap: [...(flags.bootstrap ?? []), ...(network?.bootstrap ?? [])],
        api: { host: flags.apiHost, port: flags.apiPort },
        // Who announces an address is on the internet; others' DHT is that of their own network.
        ...(serves ? { dht: { protocol, private: network?.dht?.private ?? flags.announce === undefined } } : {}),
        ...(flags.maxRelayed === undefined ? {} : { relay: { reservations: flags.maxRelayed } }),
        ...(flags.maxPeers === undefined ? {} : { maxPeers: flags.maxPeers }),
      },
      createLog({ format: flags.logFormat, ...flags.logLevel }),
    )
    void node.asked.then(() => stopped.abort())
    try {
      const addresses = node.addresses()
      output.record({ kind: 'ready', peer: node.peer, addresses, api: node.url, ...(serves ? { dht: protocol } : {}) })
      output.line(`bootstrap node ${node.peer}`)
      for (const address of addresses) output.line(`address  ${address}`)
      if (serves) output.line(`dht      ${protocol}`)
      output.line(`metrics  ${node.url}metrics`)
      await tell(node.load.bind(node), output, stopped.signal)
    } finally {
      await node.stop()
    }
    output.summary(figures(node.load()))
  } finally {
    release()
  }
}

/** A line whenever something has changed, until the signal. */
async function tell(
  load: () => BootstrapLoad,
  output: ReturnType<typeof createOutput>,
  signal: AbortSignal,
): Promise<void> {
  let last = ''
  while (!signal.aborted) {
    const now = figures(load())
    const text = `${now.peers} peers of ${now.runs} runs, ${now.connections} connections, ${now.reservations} relayed (${formatBytes(now.relayedBytes)})`
    if (text !== last) {
      output.record({ kind: 'load', ...now })
      output.line(text)
      last = text
    }
    await sleep(TELL_EVERY, undefined, { signal }).catch(() => {}) // the loop looks why
  }
}

function figures({ connections, registry, relay }: BootstrapLoad) {
  const { runs, peers, registered } = registry
  return { connections, runs, peers, hellos: registered, reservations: relay.reservations, relayedBytes: relay.bytes }
}
