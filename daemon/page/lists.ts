/** The table of peers, the reasons, the timeline and the texts. */
import type { NodeEvent } from '../types.ts'
import {
  describeEvent,
  describeRole,
  formatBytes,
  formatDuration,
  formatLoss,
  type PeerView,
  type RunView,
  readable,
  type TimelineEntry,
  whySkipped,
} from '../view/index.ts'
import { colourVariable, dot, make } from './dom.ts'

export type Name = (peer: string) => string

/** Lines of the timeline in the document. */
const SHOWN = 150

/** Milliseconds of silence after which a peer is marked. */
const SILENT = 10_000

/** Whether nothing is heard of a peer any more. */
export const isSilent = ({ down, status }: PeerView): boolean => down || (status?.silentFor ?? 0) > SILENT

export function drawPeers(body: HTMLElement, view: RunView, name: Name, now: number): void {
  const peers = [...view.peers.values()]
  const most = Math.max(
    1,
    ...peers.map((peer) => Math.max(peer.status?.bytesSent ?? 0, peer.status?.bytesReceived ?? 0)),
  )
  body.replaceChildren(...peers.map((peer) => peerRow(peer, view, name, now, most)))
}

function peerRow(peer: PeerView, view: RunView, name: Name, now: number, most: number): HTMLElement {
  const { status } = peer
  const silent = isSilent(peer)
  const self = view.status?.peer === peer.peer
  const phase = silent ? 'silent' : (status?.phase ?? '–')
  const tone = silent ? 'warn' : phase === 'training' || phase === 'finished' ? 'good' : ''
  const partner =
    peer.partner === undefined
      ? '–'
      : `${name(peer.partner.peer)}, ${formatDuration((now - peer.partner.time) / 1000)} ago`
  const round = view.holdsSets
    ? (peer.set?.contributions ?? 0)
    : view.pipeline.active
      ? view.pipeline.lossesOf(peer.peer)
      : (status?.round ?? peer.partner?.round ?? 0)
  const heard =
    status === undefined
      ? '–'
      : status.self
        ? 'itself'
        : status.silentFor < 3_000
          ? 'now'
          : `${formatDuration(status.silentFor / 1000)} ago`
  const liar = status?.attack === undefined ? '' : make('span', { class: 'tag warn' }, `lies: ${status.attack}`)
  const cell = (text: string, numeric = true): HTMLElement => make('td', numeric ? { class: 'n' } : {}, text)
  return make(
    'tr',
    { class: silent ? 'down' : '', title: peer.peer },
    make('td', {}, dot(peer.index), name(peer.peer), self ? ' (this node)' : ''),
    make('td', {}, make('span', { class: `tag ${tone}` }, phase), liar),
    cell((status?.step ?? peer.train.x.at(-1) ?? 0).toLocaleString('en')),
    cell(round.toLocaleString('en')),
    cell(formatLoss(peer.train.last ?? status?.loss)),
    cell(formatLoss(peer.validation.last ?? status?.validationLoss)),
    view.holdsSets
      ? setCell(peer, view)
      : cell(view.pipeline.active ? (describeRole(view.pipeline, peer.peer) ?? 'spare') : partner, false),
    bytesCell(status?.bytesSent, most, peer.index),
    bytesCell(status?.bytesReceived, most, peer.index),
    cell(heard),
  )
}

/** The beginning of the digest of a peer's set, and who holds the same. */
function setCell({ set }: PeerView, view: RunView): HTMLElement {
  if (set === undefined) return make('td', {}, '–')
  const holders = view.holdersOf(set)
  const same = holders > 1 ? make('span', { class: 'tag good' }, `as ${holders - 1} more`) : ''
  return make('td', {}, make('code', {}, set.digest.slice(0, 8)), ' ', same)
}

function bytesCell(bytes: number | undefined, most: number, index: number): HTMLElement {
  if (bytes === undefined) return make('td', { class: 'n' }, '–')
  const bar = make('i', { class: 'bar' })
  bar.style.width = `${Math.round((bytes / most) * 46)}px`
  bar.style.setProperty('--c', `var(${colourVariable(index)})`)
  return make('td', { class: 'n' }, bar, formatBytes(bytes))
}

export function drawReasons(list: HTMLElement, view: RunView, name: Name): void {
  const rows = [
    ...[...view.skipped].map(([reason, count]) => ({
      text: `Skipped: ${whySkipped(reason)}`,
      count,
      warn: false,
    })),
    ...[...view.leftOut].map(([peer, count]) => ({ text: `Left out of ${name(peer)}: far off`, count, warn: false })),
    ...[...view.rejected].map(([reason, count]) => ({ text: `Refused ${reason}`, count, warn: true })),
  ].sort((a, b) => b.count - a.count)
  const total = view.exchangesDone + rows.filter((row) => !row.warn).reduce((sum, row) => sum + row.count, 0)
  if (rows.length === 0) {
    list.replaceChildren(
      make(
        'p',
        { class: 'quiet' },
        view.pipeline.microbatches > 0
          ? 'Nothing was refused.'
          : view.exchangesDone > 0
            ? 'Every exchange went through, and nothing was refused.'
            : 'Nothing so far.',
      ),
    )
    return
  }
  list.replaceChildren(
    ...rows.map(({ text, count, warn }) => {
      const fill = make('i')
      fill.style.width = `${Math.min(100, (count / Math.max(1, total)) * 100).toFixed(1)}%`
      fill.style.setProperty('--c', warn ? 'var(--warn)' : 'var(--accent)')
      return make(
        'div',
        {},
        make('dt', {}, text),
        make('dd', {}, count.toLocaleString('en')),
        make('span', { class: 'bar' }, fill),
      )
    }),
  )
}

/** Kinds too frequent for the short list. */
const COMMON = new Set(['exchange-skipped', 'waiting', 'sample', 'connected', 'checkpoint'])

/** Whom a holder sees and loses sight of; what counts in a pipeline is what those with data see. */
const SIGHT = new Set(['member-joined', 'member-left', 'disconnected'])

function isNotable({ kind, peer }: NodeEvent, { pipeline }: RunView): boolean {
  if (SIGHT.has(kind) && pipeline.active) return pipeline.dataPeers.includes(peer)
  return !COMMON.has(kind)
}

export function drawTimeline(list: HTMLElement, view: RunView, name: Name, all: boolean): void {
  const entries = all ? view.timeline : view.timeline.filter(({ event }) => isNotable(event, view))
  const shown = entries.slice(-SHOWN).reverse()
  const nothing = make('li', {}, make('p', { class: 'quiet' }, 'Nothing so far.'))
  list.replaceChildren(...(shown.length === 0 ? [nothing] : shown.map((entry) => timelineRow(entry, view, name))))
}

function timelineRow({ event, tone }: TimelineEntry, view: RunView, name: Name): HTMLElement {
  const index = view.peers.get(event.peer)?.index ?? 0
  const time = new Date(event.time)
  return make(
    'li',
    { class: tone },
    make('time', { datetime: time.toISOString(), title: time.toLocaleString() }, time.toLocaleTimeString('en-GB')),
    make('span', { class: 'who' }, dot(index), name(event.peer)),
    make('p', {}, describeEvent(event, name)),
  )
}

export function drawSamples(host: HTMLElement, view: RunView, name: Name): void {
  if (view.samples.length === 0) return
  host.replaceChildren(
    ...view.samples
      .slice()
      .reverse()
      .map((sample) => {
        const text = readable(sample.text)
        const continued = text.startsWith(sample.prompt) ? text.slice(sample.prompt.length) : ` ${text}`
        const quote = make('blockquote', {}, make('b', {}, sample.prompt), continued)
        quote.style.setProperty('--c', `var(${colourVariable(view.peers.get(sample.peer)?.index ?? 0)})`)
        quote.append(make('footer', {}, `${name(sample.peer)}, step ${sample.step.toLocaleString('en')}`))
        return quote
      }),
  )
}
