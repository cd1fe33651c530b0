/** One bar a peer on a terminal; a plain line now and then elsewhere. */
import { MultiBar, type SingleBar } from 'cli-progress'
import { formatLoss } from '../view/index.ts'

/** Columns of a bar that are not its name or figures. */
const BAR_WIDTH = 24

/** Milliseconds between two plain lines of one peer. */
const LINE_INTERVAL = 5_000

export interface ProgressRow {
  name: string
  step: number
  steps: number
  round: number
  /** Contributions in its set, where the run has such: shown instead of the round. */
  contributions?: number
  /** The part of the model that it holds, where peers hold parts: shown instead of the round. */
  part?: string
  loss: number | null
  validationLoss: number | null
  /** What it does or with whom it exchanged last. */
  note: string
}

export interface Progress {
  /** Shows the newest of one peer. */
  update(key: string, row: ProgressRow): void
  /** A line above the bars. */
  line(text: string): void
  stop(): void
}

const figures = (row: ProgressRow): string =>
  `step ${String(row.step).padStart(String(row.steps).length)}/${row.steps}  loss ${formatLoss(row.loss)}  validation ${formatLoss(row.validationLoss)}  ${place(row)}`

const place = ({ contributions, part, round }: ProgressRow): string =>
  part ?? (contributions === undefined ? `round ${round}` : `${contributions.toLocaleString('en')} contributions`)

/** Bars when `live`, else lines through `write`. */
export function createProgress(live: boolean, write: (text: string) => void): Progress {
  return live ? bars() : lines(write)
}

function bars(): Progress {
  const multi = new MultiBar({
    format: (options, params, payload: { row: ProgressRow }) => {
      const filled = Math.round(params.progress * BAR_WIDTH)
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled)
      const text = `${payload.row.name.padEnd(8)} ${bar} ${figures(payload.row)}  ${payload.row.note}`
      const columns = (process.stdout.columns ?? 80) - 1
      return options.linewrap ? text : text.slice(0, columns)
    },
    hideCursor: true,
    clearOnComplete: false,
    forceRedraw: true,
    autopadding: false,
    fps: 4,
    noTTYOutput: false,
    gracefulExit: false,
  })
  const shown = new Map<string, SingleBar>() // one per peer of this swarm
  return {
    update(key, row) {
      const known = shown.get(key)
      if (known !== undefined) known.update(Math.min(row.step, row.steps), { row })
      else shown.set(key, multi.create(Math.max(1, row.steps), row.step, { row }))
    },
    // The line takes the place of the bars, which are cleared first and drawn again below it.
    line: (text) => multi.log(`\u001b[0J${text.slice(0, 4_000)}\n`),
    stop: () => multi.stop(),
  }
}

function lines(write: (text: string) => void): Progress {
  const last = new Map<string, { time: number; step: number }>() // one per peer of this swarm
  return {
    update(key, row) {
      const before = last.get(key)
      const now = Date.now()
      const done = row.step >= row.steps && before?.step !== row.step
      if (before !== undefined && (before.step === row.step || now - before.time < LINE_INTERVAL) && !done) return
      last.set(key, { time: now, step: row.step })
      write(`${row.name.padEnd(8)} ${figures(row)}  ${row.note}`.trimEnd())
    },
    line: write,
    stop() {},
  }
}
