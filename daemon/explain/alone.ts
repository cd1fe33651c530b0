/** Why nobody of the run is connected. */
import type { BootstrapStatus, RejectReason } from '../network/index.ts'
import { formatDuration, shortName } from '../view/index.ts'
import type { Facts } from './types.ts'
import { count, list } from './words.ts'

/** Addresses named one by one. */
const NAMED = 3

/** A refusal longer ago than this explains nothing any more, milliseconds. */
const RECENT = 10 * 60_000

/** A peer id inside a longer text. */
const PEER_ID = /12D3Koo[1-9A-HJ-NP-Za-km-z]{45}/g

interface Words {
  because(who: string, detail: string): string
  advice(detail: string): string
}

const REFUSED: Partial<Record<RejectReason, Words>> = {
  banned: {
    because: (who) => `${who} is refused for a while after proven faults`,
    advice: () => 'Bans end after half an hour; starling events says what the faults were.',
  },
  'not-admitted': {
    because: (_, detail) => detail,
    advice: (detail) =>
      detail.includes('pre-shared key')
        ? 'The file given with --psk must be the same at every peer of the run.'
        : 'Who may take part stands under admission in the run.yaml of whoever started the run; starling status shows the id of this peer.',
  },
  'other-run': {
    because: (who) => `${who} is of another run`,
    advice: () => 'Compare the links: the part after starling:// names the run.',
  },
  'other-version': {
    because: (_, detail) => detail,
    advice: () => 'Install the same version on both machines: starling --version',
  },
  'no-protocol': {
    because: (who) => `what answers there (${who}) does not speak Starling's protocol`,
    advice: () => 'Check the address: another program may have that port.',
  },
}

/** Strangers that were turned away lately, or that turned this peer away, each reason in words; and what can be done about it. */
export function turnedAway({ situation, self, now }: Facts): { because: string[]; advice: string[] } {
  const because: string[] = []
  const advice: string[] = []
  for (const [reason, { peer, detail, time }] of situation.refusals) {
    const known = REFUSED[reason]
    if (known === undefined || now - time > RECENT) continue
    const own = self === undefined ? detail : detail.replaceAll(`peer ${self}`, 'this node')
    because.push(known.because(shortName(peer), own.replace(PEER_ID, shortName)))
    advice.push(known.advice(detail))
  }
  return { because, advice }
}

/** In words, without a full stop, and what can be done about it. */
export function whyAlone(facts: Facts): { because: string; advice: string[] } {
  const { situation, network, now } = facts
  if (network === undefined) return { because: 'the network is not open yet', advice: [] }
  const { because, advice } = turnedAway(facts)
  const { bootstrap, reachability } = network
  const failing = bootstrap.filter(({ connected, error }) => !connected && error !== undefined)
  // Who was refused is named already, and why.
  const told = new Set([...situation.refusals.values()].map(({ peer }) => peer))
  const dead = failing.filter(({ peer }) => peer === undefined || !told.has(peer))
  if (bootstrap.length === 0 && (situation.departed !== undefined || situation.joined?.donor !== undefined)) {
    because.push('those it knew are dialled again and again')
  } else if (bootstrap.length === 0) {
    because.push('it knows no address of another peer')
    advice.push('Join by a link, name a peer with --bootstrap, or look on the local network with --mdns.')
  } else if (dead.length > 0) {
    because.push(deadEnds(dead, bootstrap.length))
    advice.push(...mend(dead, now - situation.begun))
  } else if (failing.length === 0 && because.length === 0) {
    const answering = bootstrap.filter((one) => one.connected)
    const services = answering.filter(({ service }) => service)
    because.push(
      services.length > 0
        ? `${count(services.length, 'bootstrap node')} ${services.length === 1 ? 'answers and knows' : 'answer and know'} no peer of the run`
        : answering.length > 0
          ? 'connected, and not introduced yet'
          : `${count(bootstrap.length, 'known address')} ${bootstrap.length === 1 ? 'is' : 'are'} being tried`,
    )
    if (services.length > 0) advice.push('Is a peer of the run up, and does it know the same bootstrap nodes?')
  }
  if (reachability?.state === 'private') {
    because.push(`others cannot dial this node${reachability.reason === undefined ? '' : ` (${reachability.reason})`}`)
    if (reachability.advice !== undefined) advice.push(reachability.advice)
  }
  return { because: because.join('; '), advice: [...new Set(advice)] }
}

function deadEnds(dead: readonly BootstrapStatus[], all: number): string {
  const named = dead.slice(0, NAMED).map(({ address, error, failures }) => {
    const tries = failures > 1 ? `, ${failures} times` : ''
    return `${place(address)} (${error}${tries})`
  })
  const more = dead.length > NAMED ? [`${dead.length - NAMED} more`] : []
  return `${dead.length === all ? 'nobody could be reached at' : 'no way to'} ${list([...named, ...more])}`
}

/** The address without the peer's id, of which people see the end. */
function place(address: string): string {
  return address.replace(/\/p2p\/([^/]+)/g, (_, peer: string) => `/…${shortName(peer)}`)
}

function mend(dead: readonly BootstrapStatus[], waited: number): string[] {
  const says = (words: string): boolean => dead.some(({ error }) => error?.includes(words) === true)
  const advice: string[] = []
  if (says('nobody listens'))
    advice.push('Is the other node running, and on that port? Start it, or ask for a newer link.')
  if (says('no answer in time') || says('no way to'))
    advice.push(
      'A firewall or NAT may be in between: the other side needs an open port (--listen, --announce) or a relay.',
    )
  if (says('another peer answers'))
    advice.push('The link is older than the identity of the node at that address: ask for a new one.')
  if (says('may refuse'))
    advice.push(
      'The run may have an allow-list, or has banned this peer: ask who started it, with the id from: starling status',
    )
  if (advice.length === 0 && waited > 30_000)
    advice.push(
      `Nothing came of it in ${formatDuration(waited / 1_000)}: check the link, or name another peer with --bootstrap.`,
    )
  return advice
}
