/** The stages of a pipeline as a row of boxes: who holds which, what is on its way, what was lost and came back. */
import {
  describeOrigin,
  formatDuration,
  formatLoss,
  formatSeconds,
  type RunView,
  type StageView,
} from '../view/index.ts'
import { dot, make, setText } from './dom.ts'
import type { Name } from './lists.ts'

/** Most marks for microbatches on their way; the number beside them is exact. */
const MARKS = 32

/** Draws row and notes anew. */
export function drawStages(row: HTMLElement, note: HTMLElement, view: RunView, name: Name, now: number): void {
  const { pipeline } = view
  const { dataPeers } = pipeline
  const inFlight = pipeline.inFlight(now)
  const rate = [...pipeline.flows.values()].reduce((sum, { perSecond }) => sum + (perSecond ?? 0), 0)
  setText(note, `${inFlight} microbatches in flight · ${rate.toFixed(1)} a second`)
  row.replaceChildren(
    endBox('embedding', dataPeers, view, name, inFlight),
    ...pipeline.row.map((stage) => stageBox(stage, view, name, now)),
    endBox('head and loss', dataPeers, view, name, 0),
  )
}

/** What stays with the peers that have data. */
function endBox(title: string, peers: readonly string[], view: RunView, name: Name, inFlight: number): HTMLElement {
  const marks = make('span', { class: 'marks', 'aria-hidden': 'true' })
  for (let i = 0; i < Math.min(MARKS, inFlight); i++) marks.append(make('i'))
  return make(
    'li',
    { class: 'end' },
    make('b', {}, title),
    ...(peers.length === 0 ? [make('span', { class: 'quiet' }, 'no data peer yet')] : holders(peers, view, name)),
    marks,
  )
}

function stageBox(stage: StageView, view: RunView, name: Name, now: number): HTMLElement {
  const lost = stage.holders.length === 0
  const last = view.pipeline.recoveries.findLast((recovery) => recovery.stage === stage.stage)
  const times = stage.losses === 1 ? 'once' : `${stage.losses} times`
  return make(
    'li',
    { class: lost ? 'lost' : '', title: last === undefined ? '' : recoveryOf(last, name) },
    make('b', {}, `stage ${stage.stage}`),
    ...(lost
      ? [
          make(
            'span',
            { class: 'tag warn' },
            stage.lostAt === undefined ? 'nobody' : `nobody for ${formatDuration((now - stage.lostAt) / 1000)}`,
          ),
        ]
      : holders(stage.holders, view, name)),
    stage.losses === 0 ? '' : make('span', { class: 'quiet' }, `lost ${times}`),
    last === undefined
      ? ''
      : make('span', { class: 'quiet' }, `loss ${formatLoss(last.lossBefore)} → ${formatLoss(last.lossAfter)}`),
  )
}

const recoveryOf = (recovery: RunView['pipeline']['recoveries'][number], name: Name): string => {
  const holder = recovery.about === undefined ? 'another peer' : name(recovery.about)
  return `${holder}, ${describeOrigin(recovery.how, recovery.stage)}, after ${formatSeconds(recovery.milliseconds)}`
}

function holders(peers: readonly string[], view: RunView, name: Name): HTMLElement[] {
  return peers.map((peer) => {
    const known = view.peers.get(peer)
    return make('span', { class: 'holder', title: peer }, dot(known?.index ?? 0), name(peer))
  })
}
