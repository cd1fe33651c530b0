/** Reading `run.yaml`: every error names the file, the line and the key. */
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { StarlingError } from '../errors.ts'
import { type ManifestSchema, manifestError } from './manifest.ts'
import type { Problem } from './problems.ts'

/** Longest file, characters. The largest sensible one, with a full allow-list, has 40,000. */
export const MAX_MANIFEST_TEXT = 64 * 1024

/**
 * The manifest in a YAML text. Throws StarlingError 'bad-manifest' with one line such as
 * "run.yaml:7: training.lerningRate is not a known key; did you mean learningRate? allowed: ..."; data.problems has one line for
 * each problem. Anchors, aliases and tags are refused: a manifest says what it means in one place.
 */
export function parseManifest<M>(text: string, schema: ManifestSchema<M>, fileName = 'run.yaml'): M {
  const bad = (line: number | undefined, message: string): StarlingError => {
    const place = line === undefined ? fileName : `${fileName}:${line}`
    return new StarlingError('bad-manifest', `${place}: ${message}`, { file: fileName, line })
  }
  if (text.length > MAX_MANIFEST_TEXT) {
    throw bad(undefined, `has ${text.length} characters, more than ${MAX_MANIFEST_TEXT}`)
  }
  if (text.includes('\0')) {
    throw bad(undefined, 'is not a text file')
  }
  const lines = new LineCounter()
  let document: Document.Parsed
  let value: unknown
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      strict: true,
      uniqueKeys: true,
      stringKeys: true,
    })
    const [fault] = [...document.errors, ...document.warnings]
    if (fault !== undefined) {
      throw bad(lines.linePos(fault.pos[0]).line, `not valid YAML: ${fault.message}`)
    }
    value = document.toJS({ maxAliasCount: 0 })
  } catch (error) {
    if (error instanceof StarlingError) {
      throw error
    }
    // The parser throws plain errors for aliases and for nesting too deep for its stack.
    throw bad(undefined, `not valid YAML: ${error instanceof RangeError ? 'nested too deep' : message(error)}`)
  }
  if (value === null || value === undefined) {
    throw bad(undefined, 'is empty')
  }
  const checked = schema.check(value)
  if ('manifest' in checked) {
    return checked.manifest
  }
  throw manifestError(checked.problems, (problem) => {
    const at = offsetOf(document, problem)
    return at === undefined ? `${fileName}: ` : `${fileName}:${lines.linePos(at).line}: `
  })
}

/** Where in the text a problem is: at its key, else at the innermost table around it that exists. */
function offsetOf(document: Document.Parsed, problem: Problem): number | undefined {
  let node: unknown = document.contents
  let offset = isNode(node) ? node.range?.[0] : undefined
  for (const step of problem.path) {
    const found = child(node, step)
    if (found === undefined) {
      return offset
    }
    node = found.value
    offset = found.offset
  }
  // Schemas that word their own errors put an unknown key into the sentence; the line of that key is the better place.
  const key = problem.key ?? /^has no key "([^"]+)"/.exec(problem.message)?.[1]
  return key === undefined ? offset : (child(node, key)?.offset ?? offset)
}

function child(node: unknown, step: string | number): { value: unknown; offset: number | undefined } | undefined {
  if (isMap(node)) {
    for (const pair of node.items) {
      if (isPair(pair) && isScalar(pair.key) && pair.key.value === step) {
        return { value: pair.value, offset: pair.key.range?.[0] }
      }
    }
    return undefined
  }
  const item = (node as { items?: unknown[] } | null)?.items?.[step as number]
  return isNode(item) ? { value: item, offset: (item as Node).range?.[0] } : undefined
}

const message = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
