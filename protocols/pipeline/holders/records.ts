/** What an earlier process of this peer left. */
import type { RecordStore, StageCut } from '../../ports.ts'
import type { Kept } from './take.ts'

const INCARNATION = 'incarnation'

/** Number of this process of the peer: one more than the last one had. */
export async function nextIncarnation(records: RecordStore): Promise<number> {
  const bytes = await records.get(INCARNATION)
  const last = bytes === undefined ? 0 : Number(new TextDecoder().decode(bytes))
  const next = (Number.isSafeInteger(last) && last >= 0 ? last : 0) + 1
  await records.put(INCARNATION, new TextEncoder().encode(String(next)))
  return next
}

/** Parts in the checkpoint from which this process goes on; what does not fit this model is left out. */
export function readHeld(resumed: Record<string, unknown> | undefined, cut: StageCut): Map<number, Kept> {
  const kept = new Map<number, Kept>()
  const holds: unknown[] = Array.isArray(resumed?.holds) ? resumed.holds : []
  for (const value of holds) {
    const { stage, place, ...course } = record(value)
    const read = readCourse(course)
    const fits = isWhole(stage, 1, cut.stages) && isWhole(place, 0, cut.places - 1)
    if (fits && read !== undefined && ![...kept.values()].some((other) => other.place === place)) {
      kept.set(stage, { part: stage, place, ...read })
    }
  }
  const ends = readCourse(record(resumed?.ends))
  if (ends !== undefined) {
    kept.set(0, { part: 0, place: 'ends', ...ends })
  }
  return kept
}

function readCourse({ step, applied, rate, norm }: Record<string, unknown>): Omit<Kept, 'part' | 'place'> | undefined {
  if (!isWhole(step, 0, 2 ** 48) || !isWhole(applied, 0, 2 ** 48) || !isPositive(rate)) {
    return undefined
  }
  return { step, applied, rate, ...(isPositive(norm) ? { norm } : {}) }
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

const isWhole = (value: unknown, least: number, most: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most

const isPositive = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value > 0
