/** The page: the typed event stream, folded into a RunView, drawn at most twice a second. */
import type { Explained } from '../types.ts'
import {
  formatBytes,
  formatDuration,
  formatLoss,
  formatSeconds,
  type PeerView,
  RunView,
  shortName,
} from '../view/index.ts'
import { type Axis, type Curves, createCharts } from './charts.ts'
import { byId, dot, make, onSwitch, setText } from './dom.ts'
import { follow } from './feed.ts'
import { drawPeers, drawReasons, drawSamples, drawTimeline, isSilent } from './lists.ts'
import { drawRing } from './ring.ts'
import { drawStages } from './stages.ts'
import { drawWhy } from './why.ts'

/** Milliseconds between two drawings: calm to look at, and cheap whatever the rate of events. */
const DRAW_INTERVAL = 500

let view = new RunView()
let axis: Axis = 'steps'
let curves: Curves = 'both'
let allEvents = false
let drawnVersion = -1
let drawnTimeline = -1
let chartsVersion = -1
let chartsAt = 0
let dirty = true
let explained: Explained[] = []

const charts = createCharts(byId('loss'), byId('disagreement'))

const name = (peer: string): string => view.peers.get(peer)?.status?.name ?? shortName(peer)

function drawHeader(): void {
  const { status } = view
  byId('figures').hidden = status === undefined
  if (status === undefined) {
    if (explained.length > 0) setText(byId('run-facts'), 'This node does not have its run yet')
    return
  }
  document.title = `${status.runName} · ${status.step}/${status.steps} · Starling`
  setText(byId('run-name'), status.runName)
  const millions = (status.model.parameters / 1e6).toFixed(2)
  setText(
    byId('run-facts'),
    `${status.strategy} · ${status.model.preset}, ${millions} M parameters · ${status.engine.name} engine`,
  )
  const phase = byId('phase')
  phase.hidden = false
  setText(phase, status.phase)
  byId('copy').hidden = status.link === ''
  const share = status.steps > 0 ? Math.min(100, (status.step / status.steps) * 100) : 0
  byId('progress').style.width = `${share.toFixed(2)}%`
  document.querySelector('[role=progressbar]')?.setAttribute('aria-valuenow', share.toFixed(0))
  setText(
    byId('foot'),
    `Starling ${status.version} · run ${status.run} · up ${formatDuration(status.uptimeSeconds)} · event loop 99 % below ${status.eventLoop.p99.toFixed(0)} ms · ${formatBytes(status.memory.rss)} of memory`,
  )
}

function drawTiles(): void {
  const { status } = view
  const peers = [...view.peers.values()]
  const losses = peers
    .map((peer) => peer.validation.last ?? peer.status?.validationLoss)
    .filter((loss) => typeof loss === 'number')
  const mean = losses.length === 0 ? undefined : losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  const down = peers.filter(isSilent).length
  const skipped = [...view.skipped.values()].reduce((sum, count) => sum + count, 0)
  const sent = peers.reduce((sum, peer) => sum + (peer.status?.bytesSent ?? 0), 0)
  setText(byId('t-step'), status === undefined ? '–' : status.step.toLocaleString('en'))
  setText(byId('t-steps'), status === undefined ? '' : `of ${status.steps.toLocaleString('en')}`)
  setText(byId('t-loss'), formatLoss(mean))
  setText(
    byId('t-spread'),
    losses.length > 1 ? `· ${formatLoss(Math.min(...losses))} to ${formatLoss(Math.max(...losses))}` : '',
  )
  setText(byId('t-peers'), String(peers.length - down))
  setText(byId('l-peers'), peers.length - down === 1 ? 'peer in view' : 'peers in view')
  setText(byId('t-down'), down > 0 ? `, ${down} silent` : '')
  setText(byId('t-bytes'), formatBytes(sent))
  if (view.holdsSets) {
    drawSets(peers, sent)
    return
  }
  if (view.pipeline.active) {
    drawFlow()
    return
  }
  setText(byId('t-disagreement'), view.disagreement === undefined ? '–' : view.disagreement.toPrecision(2))
  setText(byId('t-exchanges'), Math.round(view.exchangesDone / 2).toLocaleString('en'))
  setText(byId('t-skipped'), skipped > 0 ? `· ${skipped} skipped` : '')
  setText(
    byId('t-rate'),
    view.exchangesDone > 0 ? `· ${formatBytes(view.exchangeBytes / view.exchangesDone)} each time` : '',
  )
}

/** What takes the place of exchanges and disagreement where the parameters stand for sets of contributions. */
function drawSets(peers: readonly PeerView[], sent: number): void {
  const sets = peers.map(({ set }) => set).filter((set) => set !== undefined)
  const most = Math.max(0, ...sets.map(({ contributions }) => contributions))
  const holders = Math.max(0, ...sets.map((set) => view.holdersOf(set)))
  setText(byId('l-disagreement'), 'contributions applied')
  setText(byId('t-disagreement'), most.toLocaleString('en'))
  setText(byId('l-exchanges'), 'peers hold the same set')
  setText(byId('t-exchanges'), `${holders} of ${sets.length}`)
  setText(byId('t-skipped'), '')
  setText(byId('t-rate'), most > 0 ? `· ${formatBytes(sent / most)} a contribution` : '')
  setText(byId('spread-title'), 'Contributions')
  setText(byId('spread-note'), 'in the set of each peer, over time')
  setText(byId('reasons-title'), 'Refused')
  setText(byId('h-round'), 'contributions')
  setText(byId('h-partner'), 'set')
  byId('ring-talk').hidden = true
}

/** What takes the place of exchanges and disagreement where each peer holds a part of the model. */
function drawFlow(): void {
  const { pipeline } = view
  const { row, recovered, retries, microbatches, longestStall } = pipeline
  const held = row.filter(({ holders }) => holders.length > 0).length
  const times = recovered === 1 ? 'once' : `${recovered} times`
  const recoveries = recovered > 0 ? ` · recovered ${times}, ${formatSeconds(longestStall)} at most` : ''
  setText(byId('l-disagreement'), `stages held${recoveries}`)
  setText(byId('t-disagreement'), row.length === 0 ? '–' : `${held} of ${row.length}`)
  setText(byId('l-exchanges'), 'microbatches')
  setText(byId('t-exchanges'), microbatches.toLocaleString('en'))
  setText(byId('t-skipped'), retries > 0 ? `· ${retries.toLocaleString('en')} begun again` : '')
  setText(byId('t-rate'), '')
  setText(byId('spread-title'), 'Microbatches a second')
  setText(byId('spread-note'), 'through the whole pipeline and back, over time')
  setText(byId('reasons-title'), 'Refused')
  setText(byId('h-round'), 'losses')
  setText(byId('h-partner'), 'holds')
  byId('pipeline').hidden = false
  byId('ring-talk').hidden = true
}

function drawLegend(): void {
  // In a pipeline only those who have data know the loss.
  const peers = [...view.peers.values()].filter((peer) => !view.pipeline.active || peer.validation.length > 0)
  byId('legend').replaceChildren(
    ...peers.map((peer) =>
      make('span', { title: peer.peer }, dot(peer.index), `${name(peer.peer)} ${formatLoss(peer.validation.last)}`),
    ),
  )
}

function draw(now: number): void {
  const changed = view.version !== drawnVersion
  // Ages in the table and the fading of exchanges move on without news.
  drawRing(byId<SVGSVGElement>('ring'), view, name, now)
  drawPeers(byId('peers'), view, name, now)
  if (view.pipeline.active) drawStages(byId('stages'), byId('stages-note'), view, name, now)
  if (dirty || (view.version !== chartsVersion && now - chartsAt >= 2 * DRAW_INTERVAL)) {
    chartsAt = now
    chartsVersion = view.version
    charts.draw(view, { axis, curves, name })
  }
  if (!changed && !dirty) return
  drawnVersion = view.version
  drawHeader()
  drawTiles()
  drawLegend()
  drawReasons(byId('reasons'), view, name)
  setText(byId('ring-note'), view.exchanges.length > 0 ? `round ${view.exchanges.at(-1)?.round}` : '')
  if (dirty || view.timelineVersion !== drawnTimeline) {
    drawnTimeline = view.timelineVersion
    drawTimeline(byId('timeline'), view, name, allEvents)
    drawSamples(byId('samples'), view, name)
  }
  dirty = false
}

function redraw(): void {
  dirty = true
}

onSwitch('axis', (value) => {
  axis = value as Axis
  redraw()
})
onSwitch('curve', (value) => {
  curves = value as Curves
  redraw()
})
onSwitch('events', (value) => {
  allEvents = value === 'all'
  redraw()
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)

byId('copy').addEventListener('click', async () => {
  const link = view.status?.link ?? ''
  const button = byId('copy')
  try {
    await navigator.clipboard.writeText(link)
    button.textContent = 'Copied'
    setTimeout(() => {
      button.textContent = 'Copy join link'
    }, 1_500)
  } catch {
    // Browsers give the clipboard to secure pages only: let the reader copy by hand.
    prompt('Others join with: starling join LINK', link)
  }
})

follow({
  event: (event) => view.apply(event),
  snapshot(status, peers, said) {
    if (status === undefined) redraw()
    else view.observe(status, peers)
    explained = said
    drawWhy(byId('why'), explained, name, Date.now())
  },
  reset() {
    view = new RunView()
    redraw()
  },
  live(connected) {
    const chip = byId('live')
    chip.classList.toggle('on', connected)
    setText(chip, connected ? 'live' : 'reconnecting')
  },
})

setInterval(() => {
  if (document.visibilityState === 'visible') draw(Date.now())
}, DRAW_INTERVAL)
