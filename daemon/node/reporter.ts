/** The one way for anything that happens at this node: into log, metrics and heartbeat, to the page, and by gossip to the others. */
import { type MemberChange, RateLimit, type StrategyEvent, type Swarm, type WaitingFor } from '../../protocols/index.ts'
import {
  createContributionThinner,
  createStepThinner,
  type EventLog,
  type News,
  type OwnEvent,
} from '../events/index.ts'
import { STRANGERS } from '../explain/index.ts'
import type { Log } from '../log/index.ts'
import type { Metrics } from '../metrics/index.ts'
import type { Network, NetworkEvent, Reachability } from '../network/index.ts'
import { advance, announcement, type Progress } from './state.ts'

/** Events of refused messages that enter the log and the page, per second and at once; the network counts all of them, for the metrics. */
const REJECT_EVENTS = { rate: 0.5, burst: 20, keys: 256 }

/** Events so frequent that their lines are for those who look for a fault. */
const FREQUENT: readonly OwnEvent['kind'][] = [
  'step',
  'sample',
  'exchange',
  'exchange-skipped',
  'contributions',
  'mixed',
  'pipeline',
]

/** Whether an event's line is for those who look for a fault; most rounds begin with a wait for the partner. */
function isFrequent(event: OwnEvent): boolean {
  return FREQUENT.includes(event.kind) || (event.kind === 'waiting' && event.what === 'partner')
}

export interface ReporterModules {
  network: Network
  swarm: Swarm
  events: EventLog
  metrics: Metrics
  progress: Progress
  log: Log
}

export class Reporter {
  readonly #modules: ReporterModules
  readonly #thinner = createStepThinner((event) => this.emit(event))
  readonly #changes = createContributionThinner((event) => this.emit(event))
  readonly #rejects = new RateLimit(REJECT_EVENTS)
  #news: News | undefined
  #reachability: Reachability['state'] | undefined

  constructor(modules: ReporterModules) {
    this.#modules = modules
  }

  /** From now on the others are told as well. */
  gossip(news: News): void {
    this.#news = news
  }

  /** Something happened here. */
  emit(event: OwnEvent): void {
    const { events, metrics, progress, swarm, network } = this.#modules
    const line = events.record(event)
    // Every step is counted where it arrives; here are the few that stand for them.
    if (event.kind !== 'step') metrics.observe(event)
    advance(progress, event)
    swarm.announce(announcement(progress, network.counters().wire))
    this.#news?.tell(event, line.time)
    this.#write(event)
  }

  /** The strategy's reports: of its many steps and changes of its set, one event a second. */
  report(event: StrategyEvent): void {
    if (event.kind === 'step') {
      this.#modules.metrics.observe(event)
      this.#modules.progress.step = event.step
      this.#thinner.step(event)
      return
    }
    if (event.kind === 'contributions') {
      this.#changes.changed(event)
      return
    }
    if (event.kind === 'finished') {
      this.#thinner.flush()
      this.#changes.flush()
    }
    this.emit(event)
  }

  /** Tells what is left. */
  stop(): void {
    this.#changes.flush()
  }

  /** This node waits for something; said once until it waits for something else. */
  waiting(what: WaitingFor, words: string): void {
    const { events, network } = this.#modules
    const last = events.since().findLast(({ kind, peer }) => kind === 'waiting' && peer === network.self)
    if (last?.kind === 'waiting' && last.for === words) return
    this.emit({ kind: 'waiting', what, for: words })
  }

  /** What the heartbeats of the others say. */
  member({ kind, member }: MemberChange): void {
    if (kind === 'joined' || kind === 'restarted') this.emit({ kind: 'member-joined', member: member.peer })
    else this.emit({ kind: 'member-left', member: member.peer, reason: kind === 'left' ? 'leaving' : 'silent' })
  }

  /** What happens on the wire. */
  network(event: NetworkEvent): void {
    const { network } = this.#modules
    if (event.kind === 'connected' || event.kind === 'disconnected') {
      this.emit({ kind: event.kind, remote: event.peer })
    } else if (event.kind === 'reachability') {
      const { state, reason, advice } = event.reachability
      if (state === this.#reachability) return
      this.#reachability = state
      this.emit({
        kind: 'reachability',
        state,
        ...(reason === undefined ? {} : { reason }),
        ...(advice === undefined ? {} : { advice }),
      })
    } else if (event.kind === 'rejected') {
      const what = STRANGERS.has(event.reason) ? 'connection' : shortened(event.detail)
      if (this.#rejects.allow(event.peer, 1, network.clock.now()))
        this.emit({ kind: 'rejected', peer: event.peer, what, reason: event.reason })
    }
  }

  #write(event: OwnEvent): void {
    const { log } = this.#modules
    const { kind, ...data } = event
    if (kind === 'trainer-crashed') log.warn(kind, data)
    else if (isFrequent(event)) log.debug(kind, data)
    else log.info(kind, data)
  }
}

/** Longest word on what was refused. */
const MAX_WHAT = 64

/** A sentence with the ends of peers' names instead of these, which would take it all up. */
function shortened(detail: string): string {
  return detail.replace(/\b12D3KooW[1-9A-HJ-NP-Za-km-z]{38}([1-9A-HJ-NP-Za-km-z]{6})\b/g, '$1').slice(0, MAX_WHAT)
}
