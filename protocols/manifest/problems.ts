/** From what a schema finds wrong to sentences that say what is allowed. */
import type * as z from 'zod'

/** One thing that is wrong with a manifest. */
export interface Problem {
  /** Keys from the top to the value that is wrong, or to the table that has an unknown key. */
  path: readonly (string | number)[]
  /** The unknown key, if that is what is wrong. */
  key?: string
  /** Keys that are known there. */
  allowed?: readonly string[]
  /** "must be ..., not ...", for everything but unknown keys. */
  message: string
}

/** A value as an error shows it: short, with quotes around text. */
export function show(value: unknown): string {
  if (value === undefined) {
    return 'nothing'
  }
  const text =
    typeof value === 'number' || typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** "; did you mean x? Known are x, y, z", as far as that is known. */
export function allowedKeys(problem: Problem): string {
  const allowed = problem.allowed ?? []
  if (allowed.length === 0) {
    // A schema that words its own errors names the keys itself.
    return problem.message.includes('allowed') ? `: it ${problem.message}` : ''
  }
  const nearest = nearestOf(problem.key ?? '', allowed)
  return `${nearest === undefined ? '' : `; did you mean ${nearest}?`}${nearest === undefined ? ';' : ''} allowed: ${allowed.join(', ')}`
}

/** What a schema finds wrong with a value that stands at `path`, and the checked value when that is nothing. */
export function problemsOf<T>(
  schema: z.ZodType<T>,
  value: unknown,
  path: readonly string[],
): { found: Problem[]; data?: T } {
  const parsed = schema.safeParse(value, { error: wording })
  if (parsed.success) {
    return { found: [], data: parsed.data }
  }
  const found: Problem[] = []
  for (const issue of parsed.error.issues) {
    const inner = issue.path.map((step) => (typeof step === 'number' ? step : String(step)))
    if (issue.code === 'unrecognized_keys') {
      const allowed = keysAt(schema, inner, value)
      for (const key of issue.keys) {
        found.push({ path: [...path, ...inner], key, allowed, message: issue.message })
      }
    } else {
      found.push({ path: [...path, ...inner], message: issue.message })
    }
  }
  // A misspelt key often shows as a missing one as well; the first sentence should name the cause.
  return { found: found.sort((a, b) => Number(b.key !== undefined) - Number(a.key !== undefined)) }
}

/** Words for what zod finds, where a schema has none of its own. */
function wording(issue: z.core.$ZodRawIssue): string {
  const given = show(issue.input)
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `is missing: it must be ${article(issue.expected)}`
        : `must be ${article(issue.expected)}, not ${given}`
    case 'invalid_value':
      return `must be ${issue.values.map((value) => show(value)).join(' or ')}, not ${given}`
    case 'too_small':
      return `must be ${bound(issue.origin, issue.inclusive === false ? 'above' : 'at least', issue.minimum)}, not ${given}`
    case 'too_big':
      return `must be ${bound(issue.origin, issue.inclusive === false ? 'below' : 'at most', issue.maximum)}, not ${given}`
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}, not ${given}`
    case 'invalid_union':
      return Array.isArray(issue.options)
        ? `must be ${issue.options.map((option) => show(option)).join(' or ')}, not ${show(itemAt(issue.input, String(issue.discriminator)))}`
        : `has none of the allowed forms: ${given}`
    case 'unrecognized_keys':
      return `has no key ${issue.keys.map((key) => show(key)).join(', ')}`
    default:
      return `is not valid: ${given}`
  }
}

function article(expected: string): string {
  const words: Record<string, string> = {
    number: 'a number',
    int: 'a whole number',
    string: 'text',
    boolean: 'true or false',
    array: 'a list',
    object: 'a table',
    record: 'a table',
  }
  return words[expected] ?? expected
}

function bound(origin: string, relation: string, value: number | bigint): string {
  if (origin === 'string') {
    return `text of ${relation} ${value} characters`
  }
  return origin === 'array' ? `a list of ${relation} ${value} entries` : `${relation} ${value}`
}

/** Keys that the schema's table at `path` knows; empty where the schema does not tell. */
function keysAt(schema: z.core.$ZodType, path: readonly (string | number)[], value: unknown): string[] {
  const def = (schema as z.core.$ZodTypes)._zod.def
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      return keysAt(def.innerType, path, value)
    case 'pipe': {
      const keys = keysAt(def.in, path, value)
      return keys.length > 0 ? keys : keysAt(def.out, path, value)
    }
    case 'lazy':
      return keysAt(def.getter(), path, value)
    case 'array':
      return path.length === 0 ? [] : keysAt(def.element, path.slice(1), itemAt(value, path[0]))
    case 'union': {
      // The variant that was meant is the one whose fixed words stand in the value.
      const meant = def.options.filter((option) => fits(option, itemsAt(value)))
      return meant.flatMap((option) => keysAt(option, path, value))
    }
    case 'object': {
      const [first, ...rest] = path
      if (first === undefined) {
        return Object.keys(def.shape)
      }
      const field = Object.hasOwn(def.shape, first) ? def.shape[first as string] : undefined
      return field === undefined ? [] : keysAt(field, rest, itemAt(value, first))
    }
    default:
      return []
  }
}

/** Whether every literal field of a table schema has its value in `items`. */
function fits(schema: z.core.$ZodType, items: Record<string, unknown>): boolean {
  const def = (schema as z.core.$ZodTypes)._zod.def
  if (def.type !== 'object') {
    return false
  }
  return Object.entries(def.shape).every(([key, field]) => {
    const inner = (field as z.core.$ZodTypes)._zod.def
    return inner.type !== 'literal' || inner.values.some((value) => value === items[key])
  })
}

const itemsAt = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

const itemAt = (value: unknown, key: string | number | undefined): unknown =>
  key !== undefined && Object.hasOwn(itemsAt(value), key) ? itemsAt(value)[key] : undefined

/** The allowed word that is closest to a misspelt one, if any is close. */
export function nearestOf(word: string, allowed: readonly string[]): string | undefined {
  let nearest: string | undefined
  // A third of the letters may be wrong, and always two.
  let best = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of allowed) {
    const distance = editDistance(word.toLowerCase().slice(0, 64), candidate.toLowerCase())
    if (distance < best) {
      best = distance
      nearest = candidate
    }
  }
  return nearest
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours (Damerau 1964). */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(
        (previous[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (previous[j - 1] as number) + (same ? 0 : 1),
      )
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (before[j - 2] as number) + 1)
      }
      row.push(cost)
    }
    before = previous
    previous = row
  }
  return previous[b.length] as number
}
