/** The swarm as a ring: who is connected to whom, and who exchanged with whom lately. */
import { describeRole, type Exchange, type PeerView, type RunView } from '../view/index.ts'
import { colourVariable, makeSvg } from './dom.ts'

const CENTRE = { x: 180, y: 158 }
const RADIUS = 108

/** An exchange fades from the ring over this long, milliseconds: about a round of a small model. */
const FADE = 60_000

interface Place {
  x: number
  y: number
  angle: number
}

/** Draws the ring anew into `svg`. */
export function drawRing(svg: SVGSVGElement, view: RunView, name: (peer: string) => string, now: number): void {
  const peers = [...view.peers.values()]
  const places = new Map<string, Place>()
  peers.forEach((peer, index) => {
    const angle = -Math.PI / 2 + (index / Math.max(1, peers.length)) * 2 * Math.PI
    const radius = peers.length === 1 ? 0 : RADIUS
    places.set(peer.peer, { x: CENTRE.x + radius * Math.cos(angle), y: CENTRE.y + radius * Math.sin(angle), angle })
  })
  const drawn: SVGElement[] = []
  for (const link of view.links) {
    const [a, b] = link.split('|').map((peer) => places.get(peer))
    if (a !== undefined && b !== undefined) drawn.push(makeSvg('path', { class: 'link', d: bow(a, b) }))
  }
  for (const exchange of latestPerPair(view.exchanges)) {
    const [a, b] = [places.get(exchange.a), places.get(exchange.b)]
    const first = view.peers.get(exchange.a)
    if (a === undefined || b === undefined || first === undefined) continue
    const age = (now - exchange.time) / FADE
    if (age > 1) continue
    const line = makeSvg('path', { class: 'talk', d: bow(a, b), opacity: Math.max(0.12, 1 - age).toFixed(2) })
    line.style.stroke = `var(${colourVariable(first.index)})`
    line.append(makeSvg('title', {}, `${name(exchange.a)} and ${name(exchange.b)}, round ${exchange.round}`))
    drawn.push(line)
  }
  for (const peer of peers) drawn.push(...drawPeer(peer, places.get(peer.peer) as Place, name, view, peers.length))
  svg.replaceChildren(...drawn)
}

/** A line bent a little towards the centre, so that neighbours' lines do not hide one another. */
function bow(a: Place, b: Place): string {
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }
  const pull = 0.12
  const control = { x: middle.x + (CENTRE.x - middle.x) * pull, y: middle.y + (CENTRE.y - middle.y) * pull }
  const round = (value: number): string => value.toFixed(1)
  return `M${round(a.x)} ${round(a.y)}Q${round(control.x)} ${round(control.y)} ${round(b.x)} ${round(b.y)}`
}

function latestPerPair(exchanges: readonly Exchange[]): Exchange[] {
  const latest = new Map<string, Exchange>() // at most one per pair of the exchanges kept
  for (const exchange of exchanges) latest.set(`${exchange.a}|${exchange.b}`, exchange)
  return [...latest.values()]
}

function drawPeer(
  peer: PeerView,
  place: Place,
  name: (peer: string) => string,
  view: RunView,
  count: number,
): SVGElement[] {
  const size = count > 16 ? 6 : count > 8 ? 9 : 12
  const colour = `var(${colourVariable(peer.index)})`
  const circle = makeSvg('circle', { class: peer.down ? 'node down' : 'node', cx: place.x, cy: place.y, r: size })
  if (peer.down) circle.style.stroke = colour
  else circle.style.fill = colour
  const drawn: SVGElement[] = [circle]
  if (view.status?.peer === peer.peer) {
    const halo = makeSvg('circle', { class: 'halo', cx: place.x, cy: place.y, r: size + 4 })
    halo.style.color = colour
    drawn.push(halo)
  }
  if (count > 24) return drawn
  const above = Math.sin(place.angle) < -0.3 && count > 1
  const y = above ? place.y - size - 20 : place.y + size + 17
  const role = describeRole(view.pipeline, peer.peer)
  const where =
    role !== undefined
      ? role
      : peer.set !== undefined
        ? `${peer.set.contributions.toLocaleString('en')} contributions`
        : peer.status !== undefined
          ? `round ${peer.status.round}`
          : ''
  const state = peer.down ? 'silent' : where
  drawn.push(
    makeSvg('text', { x: place.x, y }, name(peer.peer)),
    makeSvg('text', { class: 'sub', x: place.x, y: y + 13 }, state),
  )
  return drawn
}
