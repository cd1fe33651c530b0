import type { DataFolder } from '../storage/index.ts'

const KEY = 'incarnation'

/**
 * Number of this process of the peer, above every earlier one: by the clock, so that it is also where the records were lost and only the key was
 * kept, or others would take this process for an echo of the one before; one more than the last where the clock was set back.
 */
export async function nextIncarnation(folder: DataFolder): Promise<number> {
  const records = folder.records('node')
  const stored = await records.get(KEY)
  const last = stored === undefined ? 0 : Number(new TextDecoder().decode(stored)) || 0
  const next = Math.max(last + 1, Date.now())
  await records.put(KEY, new TextEncoder().encode(String(next)))
  return next
}
