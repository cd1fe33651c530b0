/** Who dies and comes back when: every kind of churn as one stream of events. */
import { type PeerName, type Random, seededRandom, shuffled } from '../../protocols/index.ts'
import { exponential } from '../portable.ts'
import { intervalOf, peerNames, type Scenario } from './scenario.ts'

/** At `at` ms of virtual time a peer is killed or started; one that is in that state already is left alone. */
export interface ChurnEvent {
  at: number
  peer: PeerName
  what: 'kill' | 'start'
}

/** Events in the order of their time, without end unless the churn has one. `isUp` is asked when an event is drawn. */
export type ChurnStream = Generator<ChurnEvent, void, void>

/** Bounds of the pause and probability of a start in PCCL's stress test. */
const PCCL_PAUSE = [500, 2_000] as const
const PCCL_START = 0.6

/** The churn of a scenario. `isUp` says which peers live at the moment at which the next event is asked for. */
export function churnOf(scenario: Scenario, isUp: (peer: PeerName) => boolean): ChurnStream {
  const { churn, seed, peers } = scenario
  const random = seededRandom('scenario-churn', seed)
  const names = peerNames(peers)
  const round = intervalOf(scenario) * scenario.speed.step
  switch (churn.kind) {
    case 'none':
      return merge([])
    case 'share':
      return rounds(names, churn.perRound, round, random)
    case 'poisson':
      return merge(names.map((peer) => poisson(peer, churn.up * 1000, churn.down * 1000, seed)))
    case 'diurnal':
      return merge(names.map((peer) => diurnal(peer, churn.day * 1000, churn.away, seed)))
    case 'mass': {
      const dead = shuffled(names, random).slice(0, Math.round(churn.share * peers))
      const at = churn.at * 1000
      return merge([
        each(dead.map((peer) => ({ at, peer, what: 'kill' }))),
        each(dead.map((peer) => ({ at: at + churn.down * 1000, peer, what: 'start' }))),
      ])
    }
    case 'pccl':
      return pccl(names, isUp, random)
    case 'trace':
      return each(churn.events.map((event) => ({ ...event, at: event.at * 1000 })).sort((a, b) => a.at - b.at))
  }
}

function* each(events: readonly ChurnEvent[]): ChurnStream {
  yield* events
}

function* rounds(names: readonly PeerName[], share: number, round: number, random: Random): ChurnStream {
  let returning: ChurnEvent[] = []
  const count = Math.round(share * names.length)
  for (let start = round; count > 0; start += round) {
    const killed = shuffled(names, random)
      .slice(0, count)
      .map((peer): ChurnEvent => ({ at: start + round * random.uniform(), peer, what: 'kill' }))
    const back = killed.map(({ at, peer }): ChurnEvent => ({ at: at + round / 2, peer, what: 'start' }))
    const all = [...returning, ...killed, ...back].sort((a, b) => a.at - b.at)
    yield* all.filter(({ at }) => at < start + round)
    returning = all.filter(({ at }) => at >= start + round)
  }
}

function* poisson(peer: PeerName, up: number, down: number, seed: number): ChurnStream {
  const random = seededRandom('scenario-poisson', seed, peer)
  for (let at = 0; ; ) {
    at += exponential(up, random)
    yield { at, peer, what: 'kill' }
    at += exponential(down, random)
    yield { at, peer, what: 'start' }
  }
}

function* diurnal(peer: PeerName, day: number, away: number, seed: number): ChurnStream {
  if (away === 0) {
    return
  }
  const offset = seededRandom('scenario-diurnal', seed, peer).uniform() * day
  for (let start = offset; ; start += day) {
    yield { at: start, peer, what: 'kill' }
    yield { at: start + away * day, peer, what: 'start' }
  }
}

function* pccl(names: readonly PeerName[], isUp: (peer: PeerName) => boolean, random: Random): ChurnStream {
  const [least, most] = PCCL_PAUSE
  for (let at = 0; ; ) {
    at += least + random.uniform() * (most - least)
    const what = random.uniform() < PCCL_START ? 'start' : 'kill'
    const candidates = names.filter((peer) => isUp(peer) === (what === 'kill'))
    const peer = candidates[random.integer(Math.max(1, candidates.length))]
    if (peer !== undefined) {
      yield { at, peer, what }
    }
  }
}

/** Several streams as one, in the order of time. */
function* merge(streams: readonly ChurnStream[]): ChurnStream {
  const heads: { event: ChurnEvent; stream: ChurnStream }[] = []
  const insert = (stream: ChurnStream): void => {
    const { value, done } = stream.next()
    if (done !== true) {
      // Latest first: the next one is taken from the end.
      let low = 0
      let high = heads.length
      while (low < high) {
        const middle = (low + high) >> 1
        if ((heads[middle] as { event: ChurnEvent }).event.at > value.at) low = middle + 1
        else high = middle
      }
      heads.splice(low, 0, { event: value, stream })
    }
  }
  streams.forEach(insert)
  for (let next = heads.pop(); next !== undefined; next = heads.pop()) {
    yield next.event
    insert(next.stream)
  }
}
