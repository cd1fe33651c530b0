/** What the node waits for and why: a line each, with what comes next and what can be done. */
import type { Explained } from '../types.ts'
import { explanationLines } from '../view/index.ts'
import { make } from './dom.ts'
import type { Name } from './lists.ts'

/** Peers of a local swarm that are explained at once. */
const SHOWN = 8

/** Those at work as usual need no words, unless it is the only one. */
export function drawWhy(host: HTMLElement, explained: readonly Explained[], name: Name, now: number): void {
  const worth = explained.length === 1 ? explained : explained.filter(({ tone }) => tone === 'warn')
  host.hidden = worth.length === 0
  host.replaceChildren(
    ...worth.slice(0, SHOWN).map((each) => {
      const [first = '', ...rest] = explanationLines(each, now)
      const who = explained.length > 1 ? make('b', {}, `${each.name || name(each.peer)}: `) : ''
      return make(
        'div',
        { class: each.tone },
        make('p', {}, who, first),
        ...rest.map((line) => make('p', { class: 'quiet' }, line)),
      )
    }),
  )
}
