/** Values of options, read strictly: the error names what is allowed. */
import { InvalidArgumentError, Option } from 'commander'
import { attacks, ROUTINGS, recoveryRules, StarlingError, seededRandom } from '../../protocols/index.ts'
import { type LogLevels, parseLevels } from '../log/index.ts'

/** A whole number between two bounds. */
export function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^[+-]?\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(
      most === Number.MAX_SAFE_INTEGER
        ? `Must be a whole number of at least ${least}.`
        : `Must be a whole number from ${least} to ${most}.`,
    )
  }
}

/** A number between two bounds. */
export function real(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isFinite(value) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`Must be a number from ${least} to ${most}.`)
  }
}

/** A multiaddr in form; the network says more if it is of no use. */
export function multiaddr(text: string, earlier: string[] = []): string[] {
  const example = 'a multiaddr such as /ip4/0.0.0.0/tcp/4001'
  if (!/^\/(ip4|ip6|dns|dns4|dns6|dnsaddr)\/[^/\s]+/.test(text)) throw new InvalidArgumentError(`Must be ${example}.`)
  // A DNS record of the kind "dnsaddr" holds whole addresses; every other one says where to knock.
  if (!text.startsWith('/dnsaddr/') && !/^\/[a-z0-9]+\/[^/]+\/(tcp|udp)\/\d+(\/|$)/.test(text)) {
    throw new InvalidArgumentError(`It names no port; must be ${example}.`)
  }
  return [...earlier, text]
}

/** A STUN server. */
export function stun(text: string, earlier?: true | string[]): string[] {
  if (!/^stun:[^\s:/]+(:\d{1,5})?$/.test(text)) {
    throw new InvalidArgumentError('Must be a STUN server such as stun:host.example:3478.')
  }
  return [...(Array.isArray(earlier) ? earlier : []), text]
}

/** One attack of the zoo, its strength in form. */
export function attack(text: string, earlier: string[] = []): string[] {
  try {
    // Whether the model has symmetries for one that needs them is seen by the peer.
    attacks.createAttack(text, { random: seededRandom('form'), symmetries: [{ units: 1, tensors: [] }] })
  } catch (error) {
    throw new InvalidArgumentError(error instanceof StarlingError ? `${error.message}.` : String(error))
  }
  return [...earlier, text]
}

/** A number of stages, or the layers of each: 3, or 2,1,1. What fits the model is seen when there is one. */
export function stages(text: string): number | number[] {
  const counts = text.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : 0))
  if (counts.some((count) => count < 1)) {
    throw new InvalidArgumentError(
      'Must be a number of stages, or the layers of each with commas between: 3, or 2,1,1.',
    )
  }
  return counts.length === 1 ? (counts[0] as number) : counts
}

/** Options of a run whose peers hold parts of the model (strategy pipeline). */
export function pipelineOptions(): Option[] {
  return [
    new Option(
      '--stages <count|layers>',
      'stages of a pipeline, or the layers of each as in 2,1,1 (default: as many as the peers can hold one each)',
    ).argParser(stages),
    new Option(
      '--recovery <rule>',
      'how a pipeline rebuilds a stage that died with its peer (default: checkfree)',
    ).choices(recoveryRules),
    new Option('--routing <kind>', 'how microbatches find their way through a pipeline (default: sequential)').choices(
      ROUTINGS,
    ),
  ]
}

/** What {@link pipelineOptions} parse to. */
export interface PipelineFlags {
  stages?: number | number[]
  recovery?: string
  routing?: string
}

/** --json, the same everywhere. */
export const jsonOption = (): Option => new Option('--json', 'one JSON object a line, the last one is the summary')

/** A level, and others for single modules. */
function levels(text: string): LogLevels {
  try {
    return parseLevels(text)
  } catch (error) {
    throw new InvalidArgumentError(error instanceof StarlingError ? `${error.message}.` : String(error))
  }
}

/** How much is logged, and how. */
export function logOptions(): Option[] {
  return [
    new Option('--log-level <level>', 'how much to log on standard error, e.g. info or info,network=debug')
      .argParser(levels)
      .default({ level: 'warn', levels: {} } satisfies LogLevels, 'warn'),
    new Option('--log-format <format>', 'lines for people, or one JSON object a line')
      .choices(['human', 'json'])
      .default('human'),
  ]
}

/** What {@link logOptions} parse to. */
export interface LogFlags {
  logLevel: LogLevels
  logFormat: 'human' | 'json'
}

/** Options of commands that start a node in this process. */
export function nodeOptions(): Option[] {
  return [
    new Option('--data-folder <folder>', 'identity, records and checkpoints (default: below .starling)'),
    new Option('--name <name>', 'what people call this peer').argParser((text: string) => {
      if (/^[\p{L}\p{N} ._-]{1,40}$/u.test(text)) return text
      throw new InvalidArgumentError('Must be 1 to 40 letters, digits, spaces or . _ -')
    }),
    new Option(
      '--listen <multiaddr>',
      'where to listen; may be given several times (default: /ip4/0.0.0.0/tcp/0)',
    ).argParser(multiaddr),
    new Option('--announce <multiaddr>', 'an address to tell others beside those').argParser(multiaddr),
    new Option(
      '--bootstrap <multiaddr>',
      'a bootstrap node or peer to dial and to go back to; may be given several times',
    ).argParser(multiaddr),
    new Option(
      '--network <name|file>',
      'find peers through the bootstrap nodes and the DHT of this network: amino, test, a file, or none (default: that of the link)',
    ),
    new Option('--psk <file>', 'file with the pre-shared key of a run that asks for one: 64 hexadecimal digits'),
    new Option('--local', 'listen on this machine only'),
    new Option('--relay', 'carry the connections of peers that nobody can dial, where everybody can dial this one'),
    new Option('--no-relay', 'neither dial others through relays nor be dialled through them'),
    new Option('--upnp', 'ask the router to forward a port to this machine (UPnP or NAT-PMP)'),
    new Option('--webrtc', 'connect straight with peers behind relays; behind NAT this takes a STUN server'),
    new Option(
      '--stun <server>',
      'a STUN server for --webrtc, e.g. stun:host.example:3478; may be given several times',
    ).argParser(stun),
    new Option('--mdns', 'look for peers on the local network'),
    new Option('--no-resume', 'start from the beginning even if the data folder holds a checkpoint'),
    new Option('--data <path>', 'where the data file of the run lies on this machine (default: fetched from peers)'),
    new Option('--from <path>', "where the run's first parameters lie, if it names any (default: fetched from peers)"),
    new Option('--threads <count>', 'threads for computing (default: all cores)').argParser(whole(1, 1024)),
    new Option('--engine <name>', 'engine to compute with (default: the best one here)').choices([
      'native',
      'wasm',
      'js',
    ]),
    new Option('--api-host <host>', 'address of the API and the page; any but loopback asks for a token').default(
      '127.0.0.1',
    ),
    new Option('--port <port>', 'port of the API and the page; 0 picks a free one')
      .argParser(whole(0, 65_535))
      .default(0),
    // On a command line other users of the machine can read it.
    new Option('--api-token <token>', 'token that the API asks for').env('STARLING_API_TOKEN'),
    new Option('--attack <name[:strength]>', 'lie to the others in this way, for a demonstration').hideHelp(),
    new Option('--stay', 'keep serving state and page when the training is done'),
    ...logOptions(),
    jsonOption(),
  ]
}

/** What {@link nodeOptions} parse to. */
export interface NodeFlags extends LogFlags {
  dataFolder?: string
  name?: string
  listen?: string[]
  announce?: string[]
  bootstrap?: string[]
  network?: string
  psk?: string
  local?: true
  relay?: boolean
  upnp?: true
  webrtc?: true
  stun?: string[]
  mdns?: true
  resume: boolean
  data?: string
  from?: string
  threads?: number
  engine?: 'native' | 'wasm' | 'js'
  apiHost: string
  port: number
  apiToken?: string
  attack?: string
  stay?: true
  json?: true
}
