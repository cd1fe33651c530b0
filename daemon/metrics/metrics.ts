import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { OwnEvent } from '../events/index.ts'
import { addNetworkMetrics, type NetworkReport } from './network.ts'

/** Milliseconds between two samples of the event loop's delay; short enough to see a 10 ms stall. */
const LOOP_RESOLUTION = 5

/** Bytes by purpose since the start, as the network counts them. */
export interface Traffic {
  sent: Record<string, number>
  received: Record<string, number>
  /** Questions to other peers by method, and the time until their answers, milliseconds in all. */
  asked: Record<string, { questions: number; milliseconds: number }>
}

/** Everything the node measures about itself. */
export interface Metrics {
  readonly registry: Registry
  /** Takes one event of this node, every step included. */
  observe(event: OwnEvent): void
  /** An operation on stages of a pipeline took so long. */
  stage(operation: string, milliseconds: number): void
  /** Delay of this thread's event loop since the start, milliseconds, beyond the time it asked to sleep. */
  eventLoop(): { p50: number; p99: number; max: number }
  /** Forgets the delays so far: the start loads code for seconds, which says nothing about the run. */
  resetEventLoop(): void
  text(): Promise<{ contentType: string; text: string }>
  stop(): void
}

export interface MetricsSources {
  /** Asked at every scrape. */
  traffic(): Traffic
  members(): number
  connections(): number
  network(): NetworkReport
  /** What never changes, so that series can be told apart by more than an address. */
  info: { peer: string; name: string; run: string; version: string }
}

/** One registry per node, not the library's global one: several nodes may live in one process in tests. */
export function createMetrics(sources: MetricsSources): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const loop: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION })
  loop.enable()

  const steps = new Counter({ name: 'starling_steps_total', help: 'Optimizer steps taken by this node.', registers })
  const step = new Gauge({
    name: 'starling_step',
    help: 'Optimizer step of the schedule that this node is at.',
    registers,
  })
  const round = new Gauge({ name: 'starling_round', help: 'Outer round that this node is in.', registers })
  const loss = new Gauge({
    name: 'starling_loss',
    help: 'Latest loss, nats per token or image.',
    labelNames: ['split'],
    registers,
  })
  const stepSeconds = new Histogram({
    name: 'starling_step_seconds',
    help: 'Wall time of one optimizer step.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  })
  const exchangeSeconds = new Histogram({
    name: 'starling_exchange_seconds',
    help: 'Wall time of one completed exchange with a partner.',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  })
  const skipped = new Counter({
    name: 'starling_exchanges_skipped_total',
    help: 'Exchanges that did not happen, by reason.',
    labelNames: ['reason'],
    registers,
  })
  const disagreement = new Gauge({
    name: 'starling_disagreement',
    help: 'Estimated standard deviation of the replicas, from the latest exchange.',
    registers,
  })
  const rejects = new Counter({
    name: 'starling_rejects_total',
    help: 'Connections, messages and answers of other peers that were refused, by reason.',
    labelNames: ['reason'],
    registers,
    // The network counts its own, those included of which no event is made.
    collect() {
      const { rejected } = sources.network()
      for (const [reason, times] of Object.entries(rejected)) {
        this.inc({ reason }, times - (counted.get(reason) ?? 0))
        counted.set(reason, times)
      }
    },
  })
  const counted = new Map<string, number>() // as many as there are reasons
  const crashes = new Counter({
    name: 'starling_trainer_crashes_total',
    help: 'Times the trainer thread died and was started again.',
    registers,
  })
  const contributions = new Gauge({
    name: 'starling_contributions',
    help: 'Contributions that the parameters stand for.',
    registers,
  })
  const authors = new Gauge({ name: 'starling_authors', help: 'Peers whose contributions count.', registers })
  const excluded = new Counter({
    name: 'starling_excluded_total',
    help: 'Peers excluded for two contributions to one step.',
    registers,
  })
  const microbatches = new Counter({
    name: 'starling_microbatches_total',
    help: 'Microbatches that came back through the pipeline to this node.',
    registers,
  })
  const retries = new Counter({
    name: 'starling_microbatch_retries_total',
    help: 'Microbatches begun again after something on their way failed.',
    registers,
  })
  const inFlight = new Gauge({
    name: 'starling_microbatches_in_flight',
    help: 'Microbatches of this node that are on their way through the stages.',
    registers,
  })
  const stagesHeld = new Gauge({
    name: 'starling_stages_held',
    help: 'Stages of a pipeline that this node holds.',
    registers,
  })
  const stagesLost = new Counter({
    name: 'starling_stages_lost_total',
    help: 'Times that this node could no longer use the holder of a stage, by reason.',
    labelNames: ['reason'],
    registers,
  })
  const recoverySeconds = new Histogram({
    name: 'starling_recovery_seconds',
    help: 'Time from the loss of a stage until microbatches pass again, by how its parameters came back.',
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    labelNames: ['how'],
    registers,
  })
  const held = new Set<number>() // at most the places of this node
  const checkpoints = new Counter({ name: 'starling_checkpoints_total', help: 'Checkpoints written.', registers })

  new Gauge({
    name: 'starling_traffic_bytes',
    help: 'Bytes since the start, by purpose and direction.',
    labelNames: ['purpose', 'direction'],
    registers,
    collect() {
      const { sent, received } = sources.traffic()
      for (const [purpose, bytes] of Object.entries(sent)) this.set({ purpose, direction: 'sent' }, bytes)
      for (const [purpose, bytes] of Object.entries(received)) this.set({ purpose, direction: 'received' }, bytes)
    },
  })
  new Gauge({
    name: 'starling_asks',
    help: 'Questions to other peers since the start, by method.',
    labelNames: ['method'],
    registers,
    collect() {
      for (const [method, { questions }] of Object.entries(sources.traffic().asked)) this.set({ method }, questions)
    },
  })
  new Gauge({
    name: 'starling_ask_seconds',
    help: 'Time between questions to other peers and their answers since the start, by method.',
    labelNames: ['method'],
    registers,
    collect() {
      for (const [method, { milliseconds }] of Object.entries(sources.traffic().asked))
        this.set({ method }, milliseconds / 1_000)
    },
  })
  const stageSeconds = new Counter({
    name: 'starling_stage_seconds_total',
    help: 'Time in which stages of a pipeline were worked on here, by operation.',
    labelNames: ['operation'],
    registers,
  })
  new Gauge({
    name: 'starling_members',
    help: 'Members of the run that this node hears, itself included.',
    registers,
    collect() {
      this.set(sources.members())
    },
  })
  new Gauge({
    name: 'starling_connections',
    help: 'Peers with an open connection.',
    registers,
    collect() {
      this.set(sources.connections())
    },
  })
  new Gauge({
    name: 'starling_memory_bytes',
    help: 'Memory of the process.',
    labelNames: ['kind'],
    registers,
    collect() {
      const { rss, heapUsed, external } = process.memoryUsage()
      this.set({ kind: 'rss' }, rss)
      this.set({ kind: 'heap' }, heapUsed)
      this.set({ kind: 'external' }, external)
    },
  })
  const eventLoop = (): { p50: number; p99: number; max: number } => {
    // The histogram records the whole interval between two ticks; the delay is what exceeds the resolution.
    const delay = (nanoseconds: number): number =>
      Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - LOOP_RESOLUTION) : 0
    return loop.count === 0
      ? { p50: 0, p99: 0, max: 0 }
      : { p50: delay(loop.percentile(50)), p99: delay(loop.percentile(99)), max: delay(loop.max) }
  }
  new Gauge({
    name: 'starling_event_loop_delay_seconds',
    help: 'Delay of the network thread since the start.',
    labelNames: ['quantile'],
    registers,
    collect() {
      const { p50, p99, max } = eventLoop()
      this.set({ quantile: '0.5' }, p50 / 1_000)
      this.set({ quantile: '0.99' }, p99 / 1_000)
      this.set({ quantile: '1' }, max / 1_000)
    },
  })

  new Gauge({
    name: 'starling_info',
    help: 'Always 1; the labels say which peer this is, of which run, and its version.',
    labelNames: ['peer', 'name', 'run', 'version'],
    registers,
  }).set({ ...sources.info }, 1)
  addNetworkMetrics(registry, sources.network)

  return {
    registry,
    eventLoop,
    resetEventLoop: () => loop.reset(),
    stage: (operation, milliseconds) => stageSeconds.inc({ operation }, milliseconds / 1_000),
    observe(event) {
      if (event.kind === 'step') {
        steps.inc()
        step.set(event.step)
        loss.set({ split: 'training' }, event.loss)
        stepSeconds.observe(event.milliseconds / 1_000)
      } else if (event.kind === 'evaluation') {
        loss.set({ split: 'validation' }, event.loss)
        round.set(event.round)
      } else if (event.kind === 'exchange') {
        round.set(event.round)
        exchangeSeconds.observe(event.milliseconds / 1_000)
        disagreement.set(event.disagreement)
      } else if (event.kind === 'mixed') {
        round.set(event.round)
        disagreement.set(event.disagreement)
      } else if (event.kind === 'exchange-skipped') {
        round.set(event.round)
        skipped.inc({ reason: event.reason })
      } else if (event.kind === 'rejected') {
        if (sources.network().rejected[event.reason] === undefined) rejects.inc({ reason: event.reason })
      } else if (event.kind === 'contributions') {
        contributions.set(event.contributions)
        authors.set(event.authors)
      } else if (event.kind === 'pipeline') {
        microbatches.inc(event.microbatches)
        retries.inc(event.retries)
        inFlight.set(event.inFlight)
      } else if (event.kind === 'stage-taken') {
        // The ends are no stage.
        if (event.stage > 0) stagesHeld.set(held.add(event.stage).size)
      } else if (event.kind === 'stage-left') {
        held.delete(event.stage)
        stagesHeld.set(held.size)
      } else if (event.kind === 'stage-lost') stagesLost.inc({ reason: event.reason })
      else if (event.kind === 'stage-recovered') recoverySeconds.observe({ how: event.how }, event.milliseconds / 1_000)
      else if (event.kind === 'excluded') excluded.inc()
      else if (event.kind === 'trainer-crashed') crashes.inc()
      else if (event.kind === 'checkpoint') checkpoints.inc()
    },
    async text() {
      return { contentType: registry.contentType, text: await registry.metrics() }
    },
    stop() {
      loop.disable()
      registry.clear()
    },
  }
}

/** Sources of a node at which nothing has happened. */
export const idleSources: MetricsSources = {
  traffic: () => ({ sent: {}, received: {}, asked: {} }),
  members: () => 1,
  connections: () => 0,
  network: () => ({ links: [], bootstrap: [], dials: 0, dialFailures: 0, rejected: {}, bans: 0 }),
  info: { peer: '', name: '', run: '', version: '' },
}

/** Names of all metrics of a node, for who draws them. */
export function metricNames(): string[] {
  const metrics = createMetrics(idleSources)
  const names = metrics.registry.getMetricsAsArray().map(({ name }) => name)
  metrics.stop()
  return names
}
