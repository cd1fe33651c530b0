/**
 * How fast a pipeline trains on this machine: the same model whole in one process, and cut into stages that are processes of their own and talk over the loopback
 * interface, one after the other in the same run, so that the ratio holds on a busy machine.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StarlingError } from '../../../protocols/index.ts'
import { quietLog } from '../../log/index.ts'
import { buildRun, formatRun, type Run } from '../../run/index.ts'
import { type LocalSwarm, startSwarm } from '../../swarm/index.ts'
import { between, type Reading, readFigures, type Span } from './figures.ts'

/** Steps that do not count: engines, compilers and windows warm up. */
const WARM = 5

/** Nodes start, find each other and deal the stages within this, milliseconds. */
const READY = 240_000

/** Longest wait for one node's metrics, milliseconds. */
const SCRAPE = 10_000

/** Pause between two looks for the first steps, milliseconds. */
const LOOK = 250

export interface ThroughputOptions {
  /** Numbers of stages. Default 1, 2 and 4, of four layers. */
  stages?: readonly number[]
  model?: 'gpt-nano' | 'gpt-micro'
  layers?: number
  /** Seconds of each measurement. Default 20. */
  seconds?: number
  codec?: 'float32' | 'float16' | 'int8'
  microbatches?: number
  engine?: 'native' | 'wasm' | 'js'
  /** Called as a part begins. */
  onPart?: (what: string) => void
}

/** The whole model in one process. */
export interface WholeFigures {
  threads: number
  tokensPerSecond: number
  stepMilliseconds: number
}

/** The model in stages. */
export interface StagesFigures extends WholeFigures {
  stages: number
  /** Processes: one for each stage, and one with the data. */
  peers: number
  /** Of the tokens that the whole model in one process trains per second; 0 to 1, or above. */
  share: number
  /** Share of the holders' time in which they did not work on their stage; 0 to 1. */
  bubbles: number
  /** Share of a microbatch's way, work and hand-overs together, that hand-overs take: from the question to the answer that the tensor is there. */
  transfer: number
  /** Bytes that all peers sent for one token. */
  bytesPerToken: number
}

export interface Throughput {
  model: string
  layers: number
  parameters: number
  /** Rows of a step, and tokens of a row. */
  batch: number
  context: number
  microbatches: number
  codec: string
  cores: number
  whole: WholeFigures
  stages: StagesFigures[]
}

/** Measures. Throws StarlingError 'bench-stuck' when nodes do not come to train, 'bad-manifest' for stages that do not fit, and the signal's reason. */
export async function benchThroughput(
  options: ThroughputOptions = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Throughput> {
  const {
    stages = [1, 2, 4],
    model = 'gpt-nano',
    layers = 4,
    seconds = 20,
    codec = 'float16',
    microbatches = 4,
  } = options
  const cores = availableParallelism()
  const base = {
    name: 'bench',
    model: { preset: model, layers },
    data: { source: 'stories', bytes: 200_000 },
    // Longer than any measurement, and no look at the validation data in it.
    training: { steps: 1_000_000, evaluateEvery: 1_000_000 },
  } as const
  const cut = stages.map((count) =>
    buildRun({ ...base, strategy: { name: 'pipeline', stages: count, codec, microbatches } }),
  )
  const whole = buildRun({ ...base, strategy: { name: 'noloco', innerSteps: 100_000 } })
  const context = whole.model.architecture === 'decoder' ? whole.model.context : 1
  const { batch } = whole.training
  const tokens = batch * context

  const measured = async (run: Run, peers: number, what: string): Promise<{ threads: number; spans: Span[] }> => {
    options.onPart?.(what)
    const threads = Math.max(1, Math.floor(cores / peers))
    const spans = await measure(run, { peers, threads, seconds, engine: options.engine }, signal)
    return { threads, spans }
  }
  const figures = ({ threads, spans }: { threads: number; spans: Span[] }): WholeFigures => {
    // The one that takes steps: a data peer, or the only peer.
    const driver = spans.reduce((best, span) => (span.steps > best.steps ? span : best))
    const perSecond = driver.steps / driver.seconds
    return { threads, tokensPerSecond: perSecond * tokens, stepMilliseconds: 1_000 / perSecond }
  }
  const alone = figures(await measured(whole, 1, 'the whole model in one process'))
  const rows: StagesFigures[] = []
  for (const [i, count] of stages.entries()) {
    const peers = count + 1
    const result = await measured(cut[i] as Run, peers, `${count} ${count === 1 ? 'stage' : 'stages'}`)
    const own = figures(result)
    const { spans } = result
    const sum = (value: (span: Span) => number): number => spans.reduce((total, span) => total + value(span), 0)
    const holders = spans.filter((span) => span.steps === 0)
    const busy = holders.reduce((total, { work, seconds }) => total + work / seconds, 0) / Math.max(1, holders.length)
    const [work, transfer] = [sum((span) => span.work), sum((span) => span.transfer)]
    rows.push({
      ...own,
      stages: count,
      peers,
      share: own.tokensPerSecond / alone.tokensPerSecond,
      bubbles: 1 - busy,
      transfer: transfer / (work + transfer),
      bytesPerToken: sum(({ sent }) => sent) / (Math.max(...spans.map(({ steps }) => steps)) * tokens),
    })
  }
  const { parameters } = whole.layout
  return { model, layers, parameters, batch, context, microbatches, codec, cores, whole: alone, stages: rows }
}

/** Runs a swarm until it is warm, and then for some seconds; what its nodes did in these. */
async function measure(
  run: Run,
  { peers, threads, seconds, engine }: { peers: number; threads: number; seconds: number; engine: string | undefined },
  signal: AbortSignal,
): Promise<Span[]> {
  const folder = await mkdtemp(join(tmpdir(), 'starling-bench-'))
  let swarm: LocalSwarm | undefined
  try {
    await writeFile(join(folder, 'run.yaml'), formatRun(run))
    const api = { host: '127.0.0.1', port: 0 }
    const options = { folder, runName: 'bench', peers, threads, local: true, restart: false, api }
    swarm = await startSwarm({ ...options, ...(engine === undefined ? {} : { engine }) }, { log: quietLog, signal })
    await warm(swarm, signal)
    const before = await look(swarm)
    await sleep(seconds * 1_000, undefined, { signal })
    const after = await look(swarm)
    const spans = before.map((reading, i) => between(reading, after[i] as Reading))
    if (spans.every(({ steps }) => steps === 0))
      throw new StarlingError('bench-stuck', `no step was taken in ${seconds} s`, { peers, seconds })
    return spans
  } finally {
    await swarm?.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Resolves once somebody has taken the steps that do not count. */
async function warm(swarm: LocalSwarm, signal: AbortSignal): Promise<void> {
  const end = performance.now() + READY
  while (swarm.peers.some(({ alive }) => !alive) || Math.max(...(await look(swarm)).map(({ step }) => step)) < WARM) {
    const failed = swarm.peers.find(({ state }) => state === 'failed')
    if (failed !== undefined || performance.now() > end) {
      const why = failed?.failure?.message ?? `its nodes took no ${WARM} steps within ${READY / 1_000} s`
      throw new StarlingError('bench-stuck', `the swarm of the benchmark does not train: ${why}`)
    }
    await sleep(LOOK, undefined, { signal })
  }
}

/** The metrics of every node. */
function look(swarm: LocalSwarm): Promise<Reading[]> {
  return Promise.all(
    swarm.peers.map(async ({ ready, name }) => {
      if (ready === undefined) throw new StarlingError('bench-stuck', `${name} is not there any more`)
      const response = await fetch(new URL('metrics', ready.page), { signal: AbortSignal.timeout(SCRAPE) })
      return readFigures(await response.text(), performance.now())
    }),
  )
}
