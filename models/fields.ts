/** Building blocks of the schemas: zod types whose errors are sentences that say what is allowed and what was given. */
import * as z from 'zod'

/** A value as it is shown in an error: short, and with quotes around text. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** "a, b or c". */
export function alternatives(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}

/** A whole number between two bounds, both allowed. */
export function whole(min: number, max: number) {
  const error = (issue: { input?: unknown }) => `must be a whole number from ${min} to ${max}, not ${show(issue.input)}`
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error })
}

/** A number between two bounds; `above` leaves the lower bound itself out. */
export function real(min: number, max: number, options: { above?: boolean } = {}) {
  const range = options.above ? `above ${min} and at most ${max}` : `from ${min} to ${max}`
  const error = (issue: { input?: unknown }) => `must be a number ${range}, not ${show(issue.input)}`
  const number = z.number({ error })
  return (options.above ? number.gt(min, { error }) : number.min(min, { error })).max(max, { error })
}

/** One of a few words. */
export function word<const Names extends readonly [string, ...string[]]>(names: Names) {
  return z.enum(names, { error: (issue) => `must be ${alternatives(names)}, not ${show(issue.input)}` })
}

/** true or false. */
export function flag() {
  return z.boolean({ error: (issue) => `must be true or false, not ${show(issue.input)}` })
}

/** An object with these keys and no others. */
export function table<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') {
        const keys = issue.keys as string[]
        return `has no key ${alternatives(keys.map((key) => show(key)))}; allowed are ${Object.keys(shape).join(', ')}`
      }
      return `must be a table of ${Object.keys(shape).join(', ')}, not ${show(issue.input)}`
    },
  })
}

/** The issues of a failed parse as lines "model.layers must be a whole number from 1 to 256, not 0". */
export function sentences(issues: readonly z.core.$ZodIssue[], root: string): string[] {
  return issues.map((issue) => `${[root, ...issue.path].join('.')} ${issue.message}`)
}

/** Largest file of a run, bytes; it is held in memory while it is served and read. */
export const MAX_FILE_BYTES = 2 ** 31 - 1

/** A file that is named by its content. */
export function contentFile() {
  const hashError = (issue: { input?: unknown }) =>
    `must be a SHA-256 hash in 64 small hexadecimal digits, not ${show(issue.input)}`
  return table({
    name: z
      .string({ error: (issue) => `must be a file name, not ${show(issue.input)}` })
      .min(1, { error: () => 'must not be empty' })
      .max(255, { error: () => 'must have at most 255 characters' })
      .refine((name) => !['/', '\\', '\0'].some((sign) => name.includes(sign)) && name !== '.' && name !== '..', {
        error: (issue) => `must be a file name without folders, not ${show(issue.input)}`,
      }),
    root: z.string({ error: hashError }).regex(/^[0-9a-f]{64}$/, { error: hashError }),
    size: whole(1, MAX_FILE_BYTES),
  })
}

export type ContentFile = z.infer<ReturnType<typeof contentFile>>
