/** Loss and disagreement, drawn with uPlot. */
import { type Curve, formatDuration, type PeerView, type RunView } from '../view/index.ts'
import { colour, styleValue } from './dom.ts'
import uPlot from './uPlot.esm.js'

/** Distances between ticks of steps, rounds and seconds: whole numbers only. */
const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power))

export type Axis = 'steps' | 'seconds'
export type Curves = 'both' | 'validation' | 'train'

type Table = [number[], ...(number | null)[][]]

/** One line of a chart. */
interface Line {
  label: string
  colour: string
  width: number
  points: { x: number[]; y: number[] }
  dots?: boolean
}

/** A chart that is made anew when its lines change and only fed otherwise. */
class Chart {
  private readonly host: HTMLElement
  private readonly axis: (value: number) => string
  private readonly digits: number
  private plot: uPlot | undefined
  private shape = ''

  constructor(host: HTMLElement, axis: (value: number) => string, digits: number) {
    this.host = host
    this.axis = axis
    this.digits = digits
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host)
  }

  /** Without lines there are words in its place. */
  draw(lines: Line[], title: string): void {
    this.host.classList.toggle('empty', lines.length === 0)
    if (lines.length === 0) {
      this.plot?.destroy()
      this.plot = undefined
      return
    }
    const data = join(lines.map((line) => line.points))
    const shape = JSON.stringify([
      title,
      lines.map(({ label, colour, width }) => [label, colour, width]),
      styleValue('--grid'),
    ])
    if (this.plot !== undefined && shape === this.shape) {
      this.plot.setData(data as uPlot.AlignedData)
      return
    }
    this.shape = shape
    this.plot?.destroy()
    this.plot = new uPlot(this.options(lines, title), data as uPlot.AlignedData, this.host)
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(120, this.host.clientHeight) }
  }

  private options(lines: Line[], title: string): uPlot.Options {
    const axis = {
      stroke: styleValue('--quiet'),
      grid: { stroke: styleValue('--grid'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui',
    }
    const seconds = title === 'seconds'
    return {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: {
        x: { time: false },
        ...(title === 'rounds' ? { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.15 : 1] } } : {}),
      },
      axes: [
        {
          ...axis,
          size: 28,
          space: 70,
          incrs: WHOLE,
          values: (_plot, values) => values.map((value) => (seconds ? formatDuration(value) : this.axis(value))),
        },
        {
          ...axis,
          size: 52,
          values: (_plot, values) => values.map((value) => value.toFixed(decimals(values, this.digits))),
        },
      ],
      padding: [8, 30, 0, 0],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.label,
          stroke: line.colour,
          width: line.width,
          spanGaps: true,
          points: { show: line.dots === true && line.points.x.length < 40, size: 5, fill: line.colour },
        })),
      ],
    }
  }
}

/** Decimals that tell neighbouring ticks apart, at most `most`. */
function decimals(ticks: readonly number[], most: number): number {
  const gap = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0))
  let digits = 0
  while (digits < most && Math.abs(gap * 10 ** digits - Math.round(gap * 10 ** digits)) > 1e-6) digits++
  return digits
}

/** Lines with their own x values as one table over all of them; null where a line has no point. */
function join(lines: { x: number[]; y: number[] }[]): Table {
  const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b)
  const place = new Map(xs.map((x, index) => [x, index]))
  const columns = lines.map((line) => {
    const column: (number | null)[] = new Array(xs.length).fill(null)
    line.x.forEach((x, index) => {
      column[place.get(x) as number] = line.y[index] as number
    })
    return column
  })
  return [xs, ...columns]
}

export interface Charts {
  draw(view: RunView, options: { axis: Axis; curves: Curves; name: (peer: string) => string }): void
}

/** Makes both charts; the second one shows how far replicas are apart, how large the peers' sets of contributions are, or how fast a pipeline flows. */
export function createCharts(lossHost: HTMLElement, secondHost: HTMLElement): Charts {
  const whole = (value: number): string => value.toLocaleString('en')
  const loss = new Chart(lossHost, whole, 3)
  const second = new Chart(secondHost, (round) => `${round}`, 6)
  return {
    draw(view, { axis, curves, name }) {
      const lines: Line[] = []
      for (const peer of view.peers.values()) lines.push(...lossLines(peer, view.start, axis, curves, name))
      loss.draw(lines, axis)
      const flows = view.pipeline.active
      const timed = view.holdsSets || flows
      const curveOf = (peer: PeerView): Curve =>
        flows ? peer.flow : view.holdsSets ? peer.contributions : peer.disagreement
      const spread = [...view.peers.values()]
        .filter((peer) => curveOf(peer).length > 0)
        .map((peer) => ({
          label: name(peer.peer),
          colour: colour(peer.index),
          width: 1.6,
          points: curveOf(peer).sorted(timed ? 'seconds' : 'steps', view.start),
          dots: !timed,
        }))
      second.draw(spread, timed ? 'seconds' : 'rounds')
    },
  }
}

function lossLines(peer: PeerView, start: number, axis: Axis, curves: Curves, name: (peer: string) => string): Line[] {
  const base = colour(peer.index)
  const lines: Line[] = []
  if (curves !== 'validation' && peer.train.length > 0) {
    const faint = curves === 'both'
    lines.push({
      label: `${name(peer.peer)} training`,
      colour: faint ? `${base}59` : base,
      width: faint ? 1.2 : 1.6,
      points: peer.train.sorted(axis, start),
    })
  }
  if (curves !== 'train' && peer.validation.length > 0) {
    lines.push({
      label: `${name(peer.peer)} validation`,
      colour: base,
      width: 2.2,
      points: peer.validation.sorted(axis, start),
      dots: true,
    })
  }
  return lines
}
