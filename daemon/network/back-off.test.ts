import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../protocols/index.ts'
import { backOff } from './back-off.ts'

test('pauses double from the first to the longest, and differ by up to a half', () => {
  const random = seededRandom('back-off')
  for (let failures = 0; failures < 2_000; failures++) {
    const whole = failures > 5 ? 20 : 2 ** Math.max(0, failures - 1)
    const pause = backOff(failures, 1, 20, random)
    assert.ok(pause >= whole / 2 && pause <= whole, `${failures}: ${pause}`)
  }
})
