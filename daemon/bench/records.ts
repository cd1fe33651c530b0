import type { RecordStore } from '../../protocols/index.ts'

/** Records in memory: nothing of a measurement outlives it. */
export function memoryRecords(): RecordStore {
  const kept = new Map<string, Uint8Array>()
  return {
    get: async (key) => kept.get(key),
    put: async (key, value) => void kept.set(key, value),
    delete: async (key) => void kept.delete(key),
    keys: async (prefix, limit) =>
      [...kept.keys()]
        .filter((key) => key.startsWith(prefix))
        .sort()
        .slice(0, limit),
  }
}
