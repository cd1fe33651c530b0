/** Why nobody of the run is connected. */
import type { BootstrapStatus, RejectReason } from '../network/index.ts'
import { formatDuration, shortName } from '../view/index.ts'
import type { Situation } from './situation.ts'
import type { NetworkFacts } from './types.ts'
import { count, list } from './words.ts'

/** Addresses named one by one. */
const NAMED = 3

/** A refusal longer ago than this explains nothing any more, milliseconds. */
const RECENT = 10 * 60_000

const REFUSED: Partial<Record<RejectReason, { because: (who: string, detail: string) => string; advice: string }>> = {
  banned: {
    because: (who) => `${who} is refused for a while after proven faults`,
    advice: 'Bans end after half an hour; starling events says what the faults were.',
  },
  'not-admitted': {
    because: (who) => `${who} wants to take part and is not on the allow-list of this run`,
    advice:
      'A run that admits it needs its peer id under admission.peers in run.yaml: that is another run, with another link.',
  },
  'other-run': {
    because: (who) => `${who} is of another run`,
    advice: 'Compare the links: the part after starling:// names the run.',
  },
  'no-protocol': {
    because: (who) => `${who} speaks another version of Starling's protocols, or none`,
    advice: 'Compare the versions on both machines with: starling --version',
  },
}

/** In words, without a full stop, and what can be done about it. */
export function whyAlone(
  situation: Situation,
  network: NetworkFacts | undefined,
  now: number,
): { because: string; advice: string[] } {
  if (network === undefined) return { because: 'the network is not open yet', advice: [] }
  const because: string[] = []
  const advice: string[] = []
  for (const [reason, { peer, detail, time }] of situation.refusals) {
    const known = REFUSED[reason]
    if (known === undefined || now - time > RECENT) continue
    because.push(known.because(shortName(peer), detail))
    advice.push(known.advice)
  }
  const { bootstrap, reachability } = network
  const failing = bootstrap.filter(({ connected, error }) => !connected && error !== undefined)
  // Who was refused is named already, and why.
  const told = new Set([...situation.refusals.values()].map(({ peer }) => peer))
  const dead = failing.filter(({ peer }) => peer === undefined || !told.has(peer))
  if (bootstrap.length === 0) {
    because.push('it knows no address of another peer')
    advice.push('Join by a link, name a peer with --bootstrap, or look on the local network with --mdns.')
  } else if (dead.length > 0) {
    because.push(deadEnds(dead, bootstrap.length))
    advice.push(...mend(dead, now - situation.begun))
  } else if (failing.length === 0 && because.length === 0) {
    const connected = bootstrap.filter((one) => one.connected)
    because.push(
      connected.length > 0
        ? `${count(connected.length, 'known node')} ${connected.length === 1 ? 'answers' : 'answer'}, but no peer of the run is there`
        : `${count(bootstrap.length, 'known address')} ${bootstrap.length === 1 ? 'is' : 'are'} being tried`,
    )
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
