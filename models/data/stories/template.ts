/** The little template language of the stories, parsed once: text, `{fact}`, `{a fact}` and `(one|of|these)`, which may be nested. */

export type Template = readonly TemplatePart[]

type TemplatePart =
  | { kind: 'text'; text: string }
  | { kind: 'fact'; name: string; article: '' | 'a' | 'A' }
  | { kind: 'choice'; alternatives: readonly Template[] }

/** What a template is filled with. */
export interface Filling {
  /** The words for a fact. */
  fact(name: string): string
  /** A number below `bound`. */
  choose(bound: number): number
}

/** Parses one template. @throws SyntaxError with the place of the fault. */
export function parseTemplate(source: string): Template {
  let at = 0
  const fault = (what: string) => new SyntaxError(`${what} at ${at} in ${JSON.stringify(source)}`)
  const sequence = (inside: boolean): Template => {
    const parts: TemplatePart[] = []
    while (at < source.length) {
      const sign = source[at]!
      if (sign === ')' || sign === '|') {
        if (inside) return parts
        throw fault(`stray ${sign}`)
      }
      if (sign === '(') parts.push({ kind: 'choice', alternatives: alternatives() })
      else if (sign === '{') parts.push(fact())
      else {
        const rest = /[(){|]/.exec(source.slice(at))
        const end = rest === null ? source.length : at + rest.index
        parts.push({ kind: 'text', text: source.slice(at, end) })
        at = end
      }
    }
    if (inside) throw fault('missing )')
    return parts
  }
  const alternatives = (): Template[] => {
    const list: Template[] = []
    do {
      at++
      list.push(sequence(true))
    } while (source[at] === '|')
    at++
    return list
  }
  const fact = (): TemplatePart => {
    const match = /^\{(?:([aA]) )?([a-zA-Z0-9]+)\}/.exec(source.slice(at))
    if (match === null) throw fault('bad fact')
    at += match[0].length
    return { kind: 'fact', name: match[2]!, article: (match[1] ?? '') as '' | 'a' | 'A' }
  }
  return sequence(false)
}

/** Expands a template. */
export function expand(template: Template, filling: Filling): string {
  let text = ''
  for (const part of template) {
    if (part.kind === 'text') text += part.text
    else if (part.kind === 'choice')
      text += expand(part.alternatives[filling.choose(part.alternatives.length)]!, filling)
    else {
      const words = filling.fact(part.name)
      text += part.article === '' ? words : `${part.article}${/^[aeiou]/.test(words) ? 'n' : ''} ${words}`
    }
  }
  return text
}
