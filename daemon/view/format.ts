/** Words and figures for people, the same on the page and in the terminal. */
import type { StageOrigin } from '../../protocols/index.ts'
import type { Reachability } from '../network/types.ts'
import type { Explanation, NodeEvent, PipelineStatus, SetStatus } from '../types.ts'
import { whyRefused, whySkipped } from './words.ts'

/** A peer id as people see it: the tail, because all Ed25519 peer ids begin alike. */
export function shortName(peer: string): string {
  return peer.length > 6 ? peer.slice(-6) : peer
}

/** Text of a model for people: bytes that are no characters yet (an untrained model writes many) become dots. */
export function readable(text: string): string {
  return text.replace(NOT_CHARACTERS, '·')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
const NOT_CHARACTERS = /[\uFFFD\u0000-\u0008\u000b-\u001f\u007f-\u009f]+/g

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** 1,234,567 as "1.23 MB": decimal units, three figures. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes)
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** Seconds as "47 s", "3 min 20 s", "2 h 05 min". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const two = (value: number): string => String(value).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`
}

/** A loss with three decimals, or a dash while there is none. */
export function formatLoss(loss: number | null | undefined): string {
  return loss === null || loss === undefined || !Number.isFinite(loss) ? '–' : loss.toFixed(3)
}

/** A set of contributions in words, with the beginning of its digest: equal sets read the same. */
export function describeSet({ contributions, authors, digest }: SetStatus): string {
  const count = (what: number, one: string): string => `${what.toLocaleString('en')} ${one}${what === 1 ? '' : 's'}`
  return `${count(contributions, 'contribution')} of ${count(authors, 'author')}, ${digest.slice(0, 8)}`
}

/** An explanation in one to five lines: why and since when, what comes next, what can be done. */
export function explanationLines({ because, since, next, advice }: Explanation, now: number): string[] {
  const seconds = (now - since) / 1_000
  const lasting = seconds < 2 ? '' : `, for ${formatDuration(seconds)}`
  const first = `${because.replace(/\.$/, '')}${lasting}.`
  return [first, ...(next === undefined ? [] : [next]), ...advice.slice(0, 3).map((line) => `→ ${line}`)]
}

/** The parts of a model that a peer holds. */
export function describeStages(stages: readonly number[]): string {
  return stages.length === 0 ? 'no stage' : stages.map(stageName).join(', ')
}

/** A node's part in a pipeline in words. */
export function describePipeline({ stages, flow }: PipelineStatus): string {
  const held = `holds ${describeStages(stages)}`
  if (flow === undefined) return held
  const { microbatches, inFlight, retries, recoveries, stalledSeconds } = flow
  const flows = `${microbatches.toLocaleString('en')} microbatches, ${inFlight} in flight, ${retries} begun again`
  const times = `${recoveries} ${recoveries === 1 ? 'recovery' : 'recoveries'}`
  return `${held}; ${flows}; ${times}${recoveries > 0 ? ` in ${formatSeconds(1_000 * stalledSeconds)}` : ''}`
}

/** One event as a sentence without its subject; `name` turns a peer id into what people see. */
export function describeEvent(event: NodeEvent, name: (peer: string) => string = shortName): string {
  switch (event.kind) {
    case 'started':
      return `started on the ${event.engine} engine`
    case 'member-joined':
      return `sees ${name(event.member)} in the run`
    case 'member-left':
      return event.reason === 'silent'
        ? `has not heard from ${name(event.member)} any more`
        : `was told that ${name(event.member)} leaves`
    case 'connected':
      return `connected to ${name(event.remote)}`
    case 'disconnected':
      return `lost the connection to ${name(event.remote)}`
    case 'reachability': {
      const why = event.reason === undefined ? '' : `: ${event.reason}`
      return `${REACHABLE[event.state]}${why}${event.advice === undefined ? '' : `; ${event.advice}`}`
    }
    case 'checkpoint':
      return `wrote a checkpoint at step ${event.step} (${formatBytes(event.bytes)} in ${Math.round(event.milliseconds)} ms)`
    case 'resumed':
      return `went on from its checkpoint at step ${event.step}`
    case 'trainer-crashed':
      return `lost its trainer: ${event.message}`
    case 'trainer-restarted':
      return `restarted its trainer at step ${event.step}`
    case 'sample':
      return `wrote at step ${event.step}: ${readable(event.text)}`
    case 'stopping':
      return `is stopping: ${event.reason}`
    case 'process-died':
      return `died (${event.how}); started again in ${formatDuration(event.restartIn / 1000)}`
    case 'process-restarted':
      return `was started again, for the ${ordinal(event.restarts)} time`
    case 'step':
      return `step ${event.step}, loss ${formatLoss(event.loss)}`
    case 'evaluation':
      return `validation loss ${formatLoss(event.loss)} at step ${event.step}`
    case 'exchange':
      return `exchanged with ${name(event.partner)} in round ${event.round}, disagreement ${event.disagreement.toPrecision(2)}`
    case 'mixed': {
      const out = event.leftOut.map(({ peer, times }) => `${name(peer)}${times > 1 ? ` (${times} times)` : ''}`)
      const without = out.length === 0 ? '' : `, left out ${out.join(', ')}`
      return `mixed ${event.fragments} fragments by turn ${event.round}, disagreement ${event.disagreement.toPrecision(2)}${without}`
    }
    case 'exchange-skipped': {
      const whom = event.partner === undefined ? '' : ` with ${name(event.partner)}`
      return `skipped the exchange${whom} in round ${event.round}: ${whySkipped(event.reason)}`
    }
    case 'joined':
      if (event.donor === undefined) return `began at step ${event.step}`
      return `joined with the state of ${name(event.donor)} at step ${event.step} (${formatBytes(event.bytes)} in ${(event.milliseconds / 1000).toFixed(1)} s)`
    case 'waiting':
      return `waits for ${event.about === undefined ? event.for : `${name(event.about)} (${event.for})`}`
    case 'finished':
      return `finished at step ${event.step}, round ${event.round}`
    case 'rejected':
      return `refused ${event.what}${event.about === undefined ? '' : ` of ${name(event.about)}`}: ${whyRefused(event.reason)}`
    case 'contributions':
      return `holds ${describeSet(event)}`
    case 'excluded': {
      const whom = event.own ? 'itself' : name(event.about ?? event.peer)
      return `excluded ${whom} from step ${event.step} on: ${event.reason}`
    }
    case 'plan': {
      const replay = `${event.contributions.toLocaleString('en')} contributions (about ${formatDuration(event.replaySeconds)})`
      const { snapshotSeconds: seconds } = event
      if (seconds === undefined) return `replays ${replay}`
      const snapshot = `a snapshot (about ${formatDuration(seconds)})`
      return event.choice === 'replay'
        ? `replays ${replay} instead of taking ${snapshot}`
        : `takes ${snapshot} instead of replaying ${replay}`
    }
    case 'stage-taken': {
      const missing = event.degraded ? ', with a neighbour missing' : ''
      const cost = event.bytes > 0 ? ` (${formatBytes(event.bytes)} in ${formatSeconds(event.milliseconds)})` : ''
      const origin = describeOrigin(event.how, event.stage, event.from.map(name))
      return `holds ${stageName(event.stage)} from step ${event.step} on, ${origin}${missing}${cost}`
    }
    case 'stage-left': {
      const to = event.to === undefined ? '' : ` to ${name(event.to)}`
      return `gave ${stageName(event.stage)} away${to} at step ${event.step}`
    }
    case 'stage-lost': {
      const holder = event.about === undefined ? 'its holder' : name(event.about)
      const what = event.others > 0 ? `lost a holder of ${stageName(event.stage)}` : `lost ${stageName(event.stage)}`
      return `${what} at step ${event.step}: ${holder} ${LOST[event.reason] ?? event.reason}`
    }
    case 'stage-recovered': {
      const holder = event.about === undefined ? 'another peer' : name(event.about)
      const loss = `validation loss ${formatLoss(event.lossBefore)} → ${formatLoss(event.lossAfter)}`
      const origin = describeOrigin(event.how, event.stage)
      const after = formatSeconds(event.milliseconds)
      return `goes on after ${after}: ${holder} holds ${stageName(event.stage)}, ${origin}; ${loss}`
    }
    case 'pipeline': {
      const retries = event.retries > 0 ? `, ${event.retries} begun again` : ''
      return `passed ${event.microbatches} microbatches by step ${event.step}, ${event.inFlight} in flight${retries}`
    }
    case 'plan-agreed':
      return `follows plan ${event.plan.slice(0, 8)}: ${event.paths} paths, about ${event.seconds.toPrecision(2)} s a step`
    case 'final-elsewhere':
      return `ended at step ${event.step} with its stages; the whole model is at the peers with data`
    case 'final': {
      if (event.stages !== undefined)
        return `put the model together from ${event.stages} stages: validation loss ${formatLoss(event.loss)}`
      if (event.sha256 !== undefined)
        return `ended with parameters ${event.sha256.slice(0, 12)}: validation loss ${formatLoss(event.loss)}`
      const spread = event.replicas > 1 ? `, which were ${event.deviation.toPrecision(2)} apart` : ''
      return `merged ${event.replicas} replicas${spread}: validation loss ${formatLoss(event.loss)}, its own ${formatLoss(event.ownLoss)}`
    }
    default:
      // A newer peer may know kinds that this build does not.
      return String((event as { kind: unknown }).kind)
  }
}

const REACHABLE: Record<Reachability['state'], string> = {
  reachable: 'can be dialled by others',
  private: 'cannot be dialled by others',
  unknown: 'does not know whether others can dial it',
  local: 'can be dialled from this machine only',
}

/** Whether others can dial a node, where, and if not, why and what to do. */
export function describeReachability({ state, addresses, relays, reason, advice }: Reachability): string {
  const where = state === 'reachable' && addresses.length > 0 ? ` at ${addresses.slice(0, 2).join(' and ')}` : ''
  const by =
    relays.length > 0 ? `; ${relays.length} ${relays.length === 1 ? 'relay holds' : 'relays hold'} a place for it` : ''
  return `${REACHABLE[state]}${where}${reason === undefined ? '' : `: ${reason}`}${by}${advice === undefined ? '' : `; ${advice}`}`
}

const LOST: Record<string, string> = {
  disconnected: 'disconnected',
  silent: 'does not answer',
  refused: 'refuses it',
}

/** What people call a stage. */
export function stageName(stage: number): string {
  return stage === 0 ? 'the ends' : `stage ${stage}`
}

/** Where the parameters of a stage came from, in words that follow "stage 3,". `from`: names of the peers that gave them. */
export function describeOrigin(how: StageOrigin, stage: number, from: readonly string[] = []): string {
  const givers = from.length === 0 ? '' : ` of ${from.join(' and ')}`
  switch (how) {
    case 'initial':
      return 'at the start of the run'
    case 'own':
      return 'from its own checkpoint'
    case 'replica':
      return `copied from the replica${givers}`
    case 'moved':
      return `handed over${from.length === 0 ? '' : ` by ${from.join(' and ')}`}`
    case 'average':
      return `rebuilt from stages ${stage - 1} and ${stage + 1}${givers}`
    case 'uniform':
      return `rebuilt from the plain mean of stages ${stage - 1} and ${stage + 1}${givers}`
    case 'twin':
      return `rebuilt as a copy of its twin${givers}`
    case 'neighbour':
      return `rebuilt as a copy of the nearest stage${givers}`
    case 'random':
      return 'begun anew'
    case 'checkpoint':
      return 'taken back to the last checkpoint, as all others'
    default:
      // A newer peer may know ways that this build does not.
      return `by ${how as string}`
  }
}

/** Milliseconds as "0.42 s", "3.1 s", "2 min 05 s". */
export function formatSeconds(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1_000
  return seconds < 60 ? `${seconds.toFixed(seconds < 1 ? 2 : 1)} s` : formatDuration(seconds)
}

function ordinal(count: number): string {
  return ['first', 'second', 'third'][count - 1] ?? `${count}th`
}
