/** Seeded little English stories with a known grammar (plots.ts, words.ts): text to learn from without a download. */
import { log } from '../../portable-math.ts'
import { seededRandom } from '../../random.ts'
import { endings, openings, plots, scenery } from './plots.ts'
import { expand, type Filling, parseTemplate, type Template } from './template.ts'
import { kinds, names, type WordList, words } from './words.ts'

/** Stories of exactly `bytes` bytes (ASCII; the last story is cut off), separated by blank lines. The same on every machine. */
export function generateStories(seed: number, bytes: number): Uint8Array {
  return run(seed, bytes).text
}

/**
 * Nats per byte that the generator drew for these stories: the sum of the logarithms of the numbers of alternatives, over the length. Text
 * is a function of the draws, so this bounds the entropy of the source from above: a model can get this low in the long run, and
 * below it only by as much as different draws give the same text.
 */
export function storyEntropyBound(seed: number, bytes: number): number {
  return run(seed, bytes).nats / bytes
}

interface Grammar {
  openings: Template[]
  plots: Template[][]
  endings: Template[]
  scenery: Template[]
}

let grammar: Grammar | undefined

function run(seed: number, bytes: number): { text: Uint8Array; nats: number } {
  grammar ??= {
    openings: openings.map(parseTemplate),
    plots: plots.map((plot) => plot.map(parseTemplate)),
    endings: endings.map(parseTemplate),
    scenery: scenery.map(parseTemplate),
  }
  const random = seededRandom('stories', seed)
  let nats = 0
  const choose = (bound: number) => {
    nats += log(bound)
    return random.integer(bound)
  }
  const text = new Uint8Array(bytes)
  let length = 0
  while (length < bytes) {
    const story = `${tell(grammar, choose)}\n\n`
    for (let i = 0; i < story.length && length < bytes; i++) text[length++] = story.charCodeAt(i)
  }
  return { text, nats }
}

function tell(rules: Grammar, choose: Filling['choose']): string {
  const one = <T>(list: readonly T[]) => list[choose(list.length)]!
  const known = facts(choose)
  // Scenery names persons as the story does, but draws its own things and places.
  const aside: Filling = {
    choose,
    fact: (name) => (name in words && name !== 'elder' ? drawn(name, choose) : known(name)),
  }
  const sentences = (count: number) => Array.from({ length: count }, () => expand(one(rules.scenery), aside)).join(' ')
  const filling: Filling = {
    choose,
    fact: (name) => (name === 'scenery' ? sentences(choose(3)) : known(name)),
  }
  const beats = [one(rules.openings), ...one(rules.plots), one(rules.endings)]
  return beats
    .map((beat) => expand(beat, filling).trim())
    .filter((text) => text !== '')
    .join(' ')
    .replaceAll('  ', ' ')
}

/** The facts of one story: who it is about stays the same throughout; everything else is drawn when it is named. */
function facts(choose: Filling['choose']): Filling['fact'] {
  const draw = (list: readonly string[]) => list[choose(list.length)]!
  const [hero, friend] = distinct(names, choose)
  const [heroKind, friendKind] = distinct(kinds, choose)
  const [place, place2] = distinct(words.place, choose)
  const fixed: Record<string, string> = {
    hero: hero[0],
    heroKind: heroKind[0],
    heroKinds: heroKind[1],
    ...pronouns(hero[1], ''),
    friend: friend[0],
    friendKind: friendKind[0],
    friendKinds: friendKind[1],
    ...pronouns(friend[1], 'f'),
    place,
    place2,
    thing: draw(words.thing),
    cup: `${draw(words.colour)} cup`,
    elder: draw(words.elder),
    fruit: draw(words.fruit),
    flower: draw(words.flower),
    hiding2: draw(['afar', 'behind a tree', 'the window', 'the hill']),
  }
  return (name) => fixed[name] ?? drawn(name, choose)
}

/** A fresh draw from the list of this name. */
function drawn(name: string, choose: Filling['choose']): string {
  const list = words[name as WordList] as readonly string[] | undefined
  if (list === undefined) throw new ReferenceError(`the stories know no {${name}}`)
  return list[choose(list.length)]!
}

function distinct<T>(list: readonly T[], choose: Filling['choose']): [T, T] {
  const first = choose(list.length)
  const second = choose(list.length - 1)
  return [list[first]!, list[second < first ? second : second + 1]!]
}

function pronouns(pronoun: 'he' | 'she', prefix: string): Record<string, string> {
  const [he, him, his] = pronoun === 'he' ? ['he', 'him', 'his'] : ['she', 'her', 'her']
  const capital = (word: string) => word[0]!.toUpperCase() + word.slice(1)
  return Object.fromEntries(
    [he, him, his].flatMap((word, i) => {
      const key = ['he', 'him', 'his'][i]!
      return [
        [prefix + key, word],
        [prefix + capital(key), capital(word!)],
      ]
    }),
  ) as Record<string, string>
}
