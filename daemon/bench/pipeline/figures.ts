/** Figures of nodes, read from their metrics: what `starling bench pipeline` measures with. */

/** Values of one look at a node's Prometheus text that a pipeline's figures need; seconds, bytes and counts since the node's start. */
export interface Reading {
  /** Milliseconds of a monotonic clock. */
  at: number
  /** Optimizer step of the schedule. */
  step: number
  /** Seconds of work on stages, by operation. */
  work: Record<string, number>
  /** Seconds between this peer's questions and their answers, by method. */
  asked: Record<string, number>
  /** Bytes sent on the sockets. */
  sent: number
}

const LINE = /^(\w+)(?:\{([^}]*)\})? (\S+)$/

/** Reads one Prometheus text. */
export function readFigures(text: string, at: number): Reading {
  const reading: Reading = { at, step: 0, work: {}, asked: {}, sent: 0 }
  for (const line of text.split('\n')) {
    const [, name, labels = '', number] = LINE.exec(line) ?? []
    if (name === undefined) continue
    const value = Number(number)
    const label = (key: string): string => new RegExp(`${key}="([^"]*)"`).exec(labels)?.[1] ?? ''
    if (name === 'starling_step') reading.step = value
    else if (name === 'starling_stage_seconds_total') reading.work[label('operation')] = value
    else if (name === 'starling_ask_seconds') reading.asked[label('method')] = value
    else if (name === 'starling_traffic_bytes' && label('purpose') === 'wire' && label('direction') === 'sent')
      reading.sent = value
  }
  return reading
}

/** What happened between two looks at one node. */
export interface Span {
  seconds: number
  steps: number
  /** Seconds of work on stages. */
  work: number
  /** Seconds of handing activations and gradients over, each from the question to the answer that they are there. */
  transfer: number
  sent: number
}

/** Operations that are the work of training; text and starts are not. */
const WORK = ['embed', 'forward', 'loss', 'backward', 'step'] as const
/** Questions that carry a tensor: pieces of one too large to ride along are asked for while the question waits. */
const TRANSFER = ['pipeline-forward', 'pipeline-backward'] as const

/** From one look to the next. */
export function between(before: Reading, after: Reading): Span {
  const grown = (keys: readonly string[], of: (reading: Reading) => Record<string, number>): number =>
    keys.reduce((sum, key) => sum + (of(after)[key] ?? 0) - (of(before)[key] ?? 0), 0)
  return {
    seconds: (after.at - before.at) / 1_000,
    steps: after.step - before.step,
    work: grown(WORK, ({ work }) => work),
    transfer: grown(TRANSFER, ({ asked }) => asked),
    sent: after.sent - before.sent,
  }
}
