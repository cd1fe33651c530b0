/** What --data means. */
import type { DataInput } from '../../models/index.ts'

/** Data sets that need no file. */
export const EMBEDDED = ['stories', 'digits'] as const

/**
 * The section `data` of a run: an embedded set by name, or a user's file. Throws ModelError or StarlingError with the file and what is wrong
 * with it, before anything is started.
 */
export async function dataOf(text: string | undefined): Promise<DataInput | undefined> {
  if (text === undefined) return undefined
  if (text === 'stories' || text === 'digits') return { source: text }
  const [{ describeFiles }, { inspectText }] = await Promise.all([
    import('../run/index.ts'),
    import('../../models/index.ts'),
  ])
  // By its path, so that the error names the file.
  await inspectText(text)
  return (await describeFiles([text])) as DataInput
}

/** The path in --data, if it is one. */
export function dataPathOf(text: string | undefined): string | undefined {
  return text === undefined || EMBEDDED.some((name) => name === text) ? undefined : text
}
