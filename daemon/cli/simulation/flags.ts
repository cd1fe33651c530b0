/** What the flags of `starling simulate` and its scenario file mean, as the simulator takes it: unchecked but for its form. */
import { parseAllDocuments } from 'yaml'
import { StarlingError } from '../../../protocols/index.ts'
import { readUserFile } from '../run-file.ts'

/** Flags that stand for keys of a scenario. */
export interface ScenarioFlags {
  peers?: number
  seed?: number
  rounds?: number
  learner?: string
  membership?: string
  latency?: number
  regions?: string
  upload?: number
  download?: number
  gossip?: string
  loss?: number
  nat?: number
  stepTime?: number
  speeds?: string
  churn?: string
  partition?: string[]
  liars?: string
}

type Table = Record<string, unknown>

/** Peers where neither a flag nor the file says how many. */
const PEERS = 100

/** A scenario from the file, if any, and the flags, which go before it. Throws StarlingError 'bad-scenario'. */
export function scenarioOf(flags: ScenarioFlags, file: Table = {}): Table {
  const peers = flags.peers ?? file.peers ?? PEERS
  const network = given({
    latency: flags.latency,
    regions: flags.regions,
    upload: flags.upload,
    download: flags.download,
    gossip: flags.gossip,
    loss: flags.loss,
    nat: flags.nat,
  })
  const speed = { ...given({ step: flags.stepTime }), ...(flags.speeds === undefined ? {} : speedsOf(flags.speeds)) }
  return {
    ...file,
    peers,
    ...given({ seed: flags.seed, rounds: flags.rounds, learner: flags.learner, membership: flags.membership }),
    ...over('network', file, network),
    ...over('speed', file, speed),
    ...(flags.churn === undefined ? {} : { churn: churnOf(flags.churn) }),
    ...(flags.partition === undefined ? {} : { partitions: flags.partition.map(partitionOf) }),
    ...(flags.liars === undefined ? {} : { liars: liarsOf(flags.liars, Number(peers)) }),
  }
}

/** A table of the file with what the flags say instead of some of it. */
function over(key: string, file: Table, flags: Table): Table {
  if (Object.keys(flags).length === 0) return {}
  const known = file[key]
  return { [key]: { ...(typeof known === 'object' ? known : {}), ...flags } }
}

/** Without what is undefined. */
function given(values: Table): Table {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** The scenario in a YAML file: any keys of a scenario but the strategy, which is that of the run. Throws StarlingError 'bad-scenario'. */
export function scenarioFile(path: string): Table {
  const value = yamlOf(path, '--scenario', 'scenario')
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad(`--scenario: ${path} is no scenario: it must be a table such as {peers: 200, network: {latency: 80}}`)
  }
  if ('strategy' in value) {
    throw bad(`--scenario: ${path} has the key strategy, which belongs into run.yaml`)
  }
  return value as Table
}

/** What --churn names. */
export function churnOf(text: string): unknown {
  const share = Number(text)
  if (text.trim() !== '' && Number.isFinite(share)) return { kind: 'share', perRound: share }
  const [kind, ...rest] = text.split(':')
  const numbers = rest.map(Number)
  if (kind === 'pccl' && rest.length === 0) return { kind }
  if (kind === 'diurnal' && rest.length === 0) return { kind }
  if (kind === 'poisson' && rest.length === 2) return { kind, up: numbers[0], down: numbers[1] }
  if (kind === 'mass' && rest.length === 3) return { kind, at: numbers[0], share: numbers[1], down: numbers[2] }
  if (['pccl', 'diurnal', 'poisson', 'mass'].includes(kind ?? '')) {
    throw bad(
      `--churn: '${text}' must be one of SHARE, poisson:UP:DOWN, diurnal, mass:AT:SHARE:DOWN, pccl, or a file`,
      text,
    )
  }
  return { kind: 'trace', events: yamlOf(text, '--churn', 'trace') }
}

/** What --liars names, of so many peers. */
export function liarsOf(text: string, peers: number): unknown {
  const [first, ...attack] = text.split(':')
  const number = Number(first)
  if ((first ?? '').trim() === '' || !Number.isFinite(number) || number < 0) {
    throw bad(
      `--liars: '${text}' must be a number of peers or a share below 1, and an attack after a colon if wanted`,
      text,
    )
  }
  return {
    count: number < 1 ? Math.round(number * peers) : number,
    ...(attack.length === 0 ? {} : { attack: attack.join(':') }),
  }
}

/** What --speeds names: how the peers differ. */
export function speedsOf(text: string): Table {
  const [kind, ...rest] = text.split(':')
  const [first, second] = numbersOf(rest)
  if (kind === 'uniform' && rest.length === 0) return { spread: 0 }
  if (kind === 'lognormal' && rest.length === 1 && first !== undefined) return { spread: first }
  if (kind === 'two-class' && rest.length === 2 && first !== undefined && second !== undefined) {
    return { spread: 0, slow: { share: first, factor: second } }
  }
  throw bad(`--speeds: '${text}' must be one of uniform, lognormal:DEVIATION, two-class:SHARE:FACTOR`, text)
}

/** What one --partition names. */
export function partitionOf(text: string): Table {
  const parts = text.split(':')
  const [at, duration, share] = numbersOf(parts)
  if (parts.length !== 3 || at === undefined || duration === undefined || share === undefined) {
    throw bad(`--partition: '${text}' must be AT:FOR:SHARE: seconds, seconds, and a share of the peers`, text)
  }
  return { at, for: duration, share }
}

/** Most seeds of one sweep. */
const MAX_SEEDS = 10_000

/** The seeds that --seeds names: one, or a range such as 1..8. */
export function seedsOf(text: string): number[] {
  const [, first, last = first] = /^(\d{1,15})(?:\.\.(\d{1,15}))?$/.exec(text) ?? []
  const count = Number(last) - Number(first) + 1
  if (first === undefined || count < 1 || count > MAX_SEEDS) {
    throw bad(`--seeds: '${text}' must be a range such as 1..8, of at most ${MAX_SEEDS} seeds`, text)
  }
  return Array.from({ length: count }, (_, i) => Number(first) + i)
}

/** Numbers in form; what is none is undefined. */
function numbersOf(texts: readonly string[]): (number | undefined)[] {
  return texts.map((text) => {
    const value = Number(text)
    return text.trim() !== '' && Number.isFinite(value) ? value : undefined
  })
}

function yamlOf(path: string, flag: string, what: string): unknown {
  const [document] = parseAllDocuments(new TextDecoder().decode(readUserFile(path)))
  const fault = document === undefined ? 'it is empty' : document.errors?.[0]?.message.split('\n')[0]
  if (document === undefined || fault !== undefined) {
    throw new StarlingError('bad-scenario', `${flag}: ${path} is no ${what}: ${fault}`, { path })
  }
  return (document as { toJS(): unknown }).toJS()
}

function bad(message: string, value?: string): StarlingError {
  return new StarlingError('bad-scenario', message, value === undefined ? {} : { value })
}
