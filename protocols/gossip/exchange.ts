/** The two ways in which gossip exchanges models, as the strategy sees them. */
import type { PeerName } from '../ports.ts'
import type { StrategyModules } from '../strategy.ts'
import type { GossipOptions } from './options.ts'
import type { FragmentOrder, FragmentPlan } from './plan.ts'
import type { Tally } from './tally.ts'

/** What an exchange is made from. */
export interface ExchangeParts extends StrategyModules {
  options: GossipOptions
  plan: FragmentPlan
  order: FragmentOrder
  tally: Tally
  /** The turn that this peer is in; undefined while it has no parameters of the run. */
  turn(): number | undefined
  /** Something of a peer was refused. */
  refuse(peer: PeerName, reason: string): void
}

export interface Exchange {
  start(): void
  /** Takes nothing in any more; what others are fetching is still given. */
  close(): void
  /** What is under way is given up. May be called twice. */
  stop(): void
  /** The parameters are those of the run's common start, or a replica's of later. */
  begin(from: 'start' | 'parameters'): Promise<void>
  /** Latest turns of others that are newer than their heartbeats. */
  readonly heard: ReadonlyMap<PeerName, number>
  /** Local steps were taken: tells the others of the turn's fragment (undefined: this peer is ahead and sits out), and mixes. Throws what broke. */
  turn(turn: number | undefined, step: number, signal: AbortSignal): Promise<void>
  /** Resolves when nothing is mixed any more that came before. */
  settle(): Promise<void>
  /** The last events. */
  finish(turn: number): void
}
