/** The stages of a pipeline as its events tell of them: who holds which, what is on its way, what was lost and what came after. */
import type { NodeEvent } from '../types.ts'

/** One stage; number 0 stands for the ends (embedding and head), which data peers hold. */
export interface StageView {
  stage: number
  /** Peers that hold it ready, as the data peers said last. */
  holders: string[]
  /** Since when it has had no holder, milliseconds since the epoch; undefined while it has one. */
  lostAt?: number
  /** Times that a holder was lost. */
  losses: number
}

/** What a loss did to a run. */
export type Recovery = Extract<NodeEvent, { kind: 'stage-recovered' }>

/** What one data peer sends through the stages. */
export interface FlowView {
  step: number
  inFlight: number
  /** Microbatches, over the time between its last two reports; undefined after the first. */
  perSecond: number | undefined
  time: number
}

/** Stages drawn, data peers followed, recoveries kept. */
const MAX_STAGES = 64
const MAX_DATA_PEERS = 16
const MAX_RECOVERIES = 50

/** Peers whose losses are counted. */
const MAX_HOLDERS = 1_024

/** A data peer that has reported nothing for so long has nothing in flight that we know of, milliseconds. */
const STALE = 10_000

export class PipelineView {
  /** By number, at most {@link MAX_STAGES}. */
  readonly stages = new Map<number, StageView>()
  /** By data peer, at most {@link MAX_DATA_PEERS}; who reported longest ago makes room. */
  readonly flows = new Map<string, FlowView>()
  /** Newest last. */
  readonly recoveries: Recovery[] = []
  readonly #lossesOf = new Map<string, number>() // at most MAX_HOLDERS
  /** Since the first event that is kept. */
  microbatches = 0
  retries = 0
  recovered = 0
  /** Milliseconds without a microbatch that could pass, in all and at the longest. */
  stalled = 0
  longestStall = 0

  /** Whether there is anything to draw. */
  get active(): boolean {
    return this.stages.size > 0 || this.flows.size > 0
  }

  /** Stages in order, the ends left out. */
  get row(): StageView[] {
    return [...this.stages.values()].filter(({ stage }) => stage > 0).sort((a, b) => a.stage - b.stage)
  }

  /** Stages that a peer holds, in order. */
  heldBy(peer: string): number[] {
    return this.row.filter(({ holders }) => holders.includes(peer)).map(({ stage }) => stage)
  }

  /** Times that data peers could no longer use a stage that this peer held. */
  lossesOf(peer: string): number {
    return this.#lossesOf.get(peer) ?? 0
  }

  /** Peers that hold the ends, and send microbatches through the stages. */
  get dataPeers(): string[] {
    return [...new Set([...(this.stages.get(0)?.holders ?? []), ...this.flows.keys()])]
  }

  /** Microbatches on their way now. */
  inFlight(now: number): number {
    return [...this.flows.values()].reduce((sum, { inFlight, time }) => sum + (now - time < STALE ? inFlight : 0), 0)
  }

  /** Folds one event in; others than a pipeline's change nothing. */
  apply(event: NodeEvent): void {
    switch (event.kind) {
      case 'pipeline':
        this.#flow(event)
        return
      case 'stage-taken': {
        const stage = this.#stage(event.stage)
        if (stage !== undefined && !stage.holders.includes(event.peer)) stage.holders.push(event.peer)
        if (stage !== undefined) delete stage.lostAt
        return
      }
      case 'stage-left':
        this.#leave(event.stage, event.peer, event.time)
        if (event.stage === 0) this.flows.delete(event.peer)
        return
      case 'stage-lost': {
        const stage = this.#stage(event.stage)
        if (stage !== undefined) stage.losses += 1
        if (event.about === undefined) return
        if (this.#lossesOf.has(event.about) || this.#lossesOf.size < MAX_HOLDERS)
          this.#lossesOf.set(event.about, this.lossesOf(event.about) + 1)
        this.#leave(event.stage, event.about, event.time)
        if (event.stage === 0) this.flows.delete(event.about)
        return
      }
      case 'stage-recovered':
        this.recovered += 1
        this.stalled += event.milliseconds
        this.longestStall = Math.max(this.longestStall, event.milliseconds)
        this.recoveries.push(event)
        if (this.recoveries.length > MAX_RECOVERIES) this.recoveries.shift()
        return
      case 'process-died':
        for (const { stage } of this.stages.values()) this.#leave(stage, event.peer, event.time)
        this.flows.delete(event.peer)
        return
    }
  }

  #flow(event: Extract<NodeEvent, { kind: 'pipeline' }>): void {
    const before = this.flows.get(event.peer)
    const seconds = before === undefined ? 0 : (event.time - before.time) / 1_000
    this.flows.delete(event.peer)
    this.flows.set(event.peer, {
      step: event.step,
      inFlight: event.inFlight,
      perSecond: seconds > 0 ? event.microbatches / seconds : undefined,
      time: event.time,
    })
    if (this.flows.size > MAX_DATA_PEERS) this.flows.delete(this.flows.keys().next().value as string)
    this.microbatches += event.microbatches
    this.retries += event.retries
    for (const { stage: number, peers } of event.holders) {
      const stage = this.#stage(number)
      if (stage === undefined) continue
      stage.holders = [...peers]
      if (peers.length > 0) delete stage.lostAt
      else stage.lostAt ??= event.time
    }
  }

  #leave(number: number, peer: string, time: number): void {
    const stage = this.#stage(number)
    if (stage === undefined || !stage.holders.includes(peer)) return
    stage.holders = stage.holders.filter((holder) => holder !== peer)
    if (stage.holders.length === 0) stage.lostAt = time
  }

  #stage(number: number): StageView | undefined {
    const known = this.stages.get(number)
    if (known !== undefined || this.stages.size >= MAX_STAGES) return known
    const stage: StageView = { stage: number, holders: [], losses: 0 }
    this.stages.set(number, stage)
    return stage
  }
}

/** What a peer does in a pipeline, in words; undefined for one that has no part in it now. */
export function describeRole(pipeline: PipelineView, peer: string): string | undefined {
  const stages = pipeline.heldBy(peer)
  const held = stages.length === 0 ? [] : [`${stages.length === 1 ? 'stage' : 'stages'} ${stages.join(', ')}`]
  const roles = [...(pipeline.dataPeers.includes(peer) ? ['data'] : []), ...held]
  return roles.length === 0 ? undefined : roles.join(' and ')
}
