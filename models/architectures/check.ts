import { ModelError } from '../errors.ts'

/** Checks one positive whole number of a model's configuration. */
export function checkWhole(key: string, value: number, multipleOf = 1): void {
  if (Number.isSafeInteger(value) && value > 0 && value % multipleOf === 0) return
  const allowed = multipleOf === 1 ? 'a whole number above 0' : `a multiple of ${multipleOf} above 0`
  throw new ModelError('bad-model', `model.${key} is ${value}; it must be ${allowed}`, { key, value, allowed })
}
