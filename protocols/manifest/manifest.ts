/** What a run is: the object that `run.yaml` describes, whose canonical bytes name the run. */
import * as z from 'zod'
import { StarlingError } from '../errors.ts'
import type { PeerName } from '../ports.ts'
import { allowedKeys, type Problem, problemsOf, show } from './problems.ts'

/** Version of the manifest's form. */
export const MANIFEST_VERSION = 1

/** Most peers on an allow-list; a manifest must fit one answer. */
export const MAX_ALLOWED_PEERS = 512

/** Who may take part: everybody, the peers on a list, or those who hold a key that is handed over by other ways than the run. */
export type Admission = { mode: 'open' } | { mode: 'allow-list'; peers: PeerName[] } | { mode: 'pre-shared-key' }

/** A checked manifest, with every default filled in. */
export interface RunManifest<Model = unknown, Data = unknown, Training = unknown, Strategy = unknown> {
  version: typeof MANIFEST_VERSION
  /** For people; the run's true name is the hash of its manifest. */
  name: string
  /** All randomness of the run starts here. */
  seed: number
  model: Model
  data: Data
  training: Training
  /** Name of the strategy and its options. */
  strategy: { name: string } & Strategy
  admission: Admission
}

/** The sections that other folders bring: one schema each, and one per strategy for its options. */
export interface ManifestSections<Model, Data, Training, Strategy> {
  model: z.ZodType<Model>
  data: z.ZodType<Data>
  training: z.ZodType<Training>
  /** By name. The options are what stands beside `name` in the file. */
  strategies: Readonly<Record<string, z.ZodType<Strategy>>>
}

/** What checks a manifest. */
export interface ManifestSchema<M> {
  /** The manifest in `value`, or everything that is wrong with it, in the order of the sections. */
  check(value: unknown): { manifest: M } | { problems: Problem[] }
}

const runFields = {
  version: z.literal(MANIFEST_VERSION).default(MANIFEST_VERSION),
  name: z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u, {
    error: (issue) => `must be 1 to 64 letters, digits, spaces, dots, dashes or underscores, not ${show(issue.input)}`,
  }),
  seed: z.number().int().min(0).default(0),
}

const peerId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/, {
  error: (issue) => `must be an Ed25519 peer id like 12D3KooW..., not ${show(issue.input)}`,
})

const admissionSchema = z
  .discriminatedUnion('mode', [
    z.strictObject({ mode: z.literal('open') }),
    z.strictObject({
      mode: z.literal('allow-list'),
      // A list has one canonical order, so that the same list gives the same run.
      peers: z
        .array(peerId)
        .min(1)
        .max(MAX_ALLOWED_PEERS)
        .transform((peers) => [...new Set(peers)].sort()),
    }),
    // The key itself has no place in the manifest, which whoever has the link can fetch.
    z.strictObject({ mode: z.literal('pre-shared-key') }),
  ])
  .default({ mode: 'open' })

/** All keys of a manifest, in the order in which they are written. */
export const MANIFEST_KEYS = ['version', 'name', 'seed', 'model', 'data', 'training', 'strategy', 'admission'] as const

/**
 * Composes the schema of a run from its sections. Sections are injected because this folder may not know models. A section may be left
 * out of the file when its schema accepts an empty table.
 */
export function createManifestSchema<Model, Data, Training, Strategy>(
  sections: ManifestSections<Model, Data, Training, Strategy>,
): ManifestSchema<RunManifest<Model, Data, Training, Strategy>> {
  const names = Object.keys(sections.strategies)
  return {
    check(value) {
      if (!isTable(value)) {
        return {
          problems: [{ path: [], message: `must be a table of ${MANIFEST_KEYS.join(', ')}, not ${show(value)}` }],
        }
      }
      const problems: Problem[] = []
      for (const key of Object.keys(value)) {
        if (!MANIFEST_KEYS.some((known) => known === key)) {
          problems.push({ path: [], key, allowed: MANIFEST_KEYS, message: '' })
        }
      }
      const section = <T>(schema: z.ZodType<T>, path: string[], given: unknown): T => {
        const { found, data } = problemsOf(schema, given, path)
        problems.push(...found)
        return data as T
      }
      // An own look-up: the file may well have a key named 'constructor'.
      const of = (key: string): unknown => (Object.hasOwn(value, key) ? value[key] : undefined)
      const manifest = {
        version: section(runFields.version, ['version'], of('version')),
        name: section(runFields.name, ['name'], of('name')),
        seed: section(runFields.seed, ['seed'], of('seed')),
        model: section(sections.model, ['model'], of('model') ?? {}),
        data: section(sections.data, ['data'], of('data') ?? {}),
        training: section(sections.training, ['training'], of('training') ?? {}),
        strategy: strategy(of('strategy')),
        admission: section(admissionSchema, ['admission'], of('admission')),
      }
      return problems.length > 0 ? { problems } : { manifest }

      function strategy(given: unknown): { name: string } & Strategy {
        const list = names.join(', ')
        const fail = (path: string[], message: string): never => {
          problems.push({ path, message })
          return undefined as never
        }
        if (!isTable(given)) {
          return fail(['strategy'], `must be a table with name (one of ${list}), not ${show(given)}`)
        }
        const { name, ...options } = given
        if (typeof name !== 'string' || !Object.hasOwn(sections.strategies, name)) {
          return fail(['strategy', 'name'], `must be one of ${list}, not ${show(name)}`)
        }
        const checked = section(sections.strategies[name] as z.ZodType<Strategy>, ['strategy'], options)
        return { name, ...checked }
      }
    },
  }
}

/** True for a plain table of a file or message. */
function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/** The error of a manifest: one line that names the place, the key and what is allowed. */
export function manifestError(problems: readonly Problem[], place: (problem: Problem) => string): StarlingError {
  const lines = problems.map((problem) => `${place(problem)}${problemSentence(problem)}`)
  const more = lines.length > 1 ? ` (and ${lines.length - 1} more)` : ''
  return new StarlingError('bad-manifest', `${lines[0] ?? 'the manifest is not valid'}${more}`, {
    problems: lines,
    key:
      problems[0] === undefined
        ? undefined
        : [...problems[0].path, ...(problems[0].key === undefined ? [] : [problems[0].key])].join('.'),
  })
}

/** What is wrong, in words that name the key, the value and what is allowed. */
export function problemSentence(problem: Problem): string {
  const path = problem.path.map((step) => legible(String(step))).join('.')
  if (problem.key === undefined) {
    return `${path === '' ? 'the manifest' : path} ${problem.message}`
  }
  const key = legible(problem.key)
  return `${path === '' ? key : `${path}.${key}`} is not a known key${allowedKeys(problem)}`
}

/** A key as it may be printed: it can come from a stranger, so nothing in it may move the cursor, break the line or fill the screen. */
function legible(key: string): string {
  return /^[\p{L}\p{N}\p{P}\p{S} ]{1,60}$/u.test(key) ? key : show(key).replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')
}
