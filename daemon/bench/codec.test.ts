import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODEC_NAMES, codecs } from '../../protocols/index.ts'
import { benchCodec } from './codec.ts'

test('every code is measured: exact bytes, the same error every time, and a speed', () => {
  const options = { runs: 1, values: 70_000 }
  const [first, again] = [benchCodec(options), benchCodec(options)]
  assert.ok(first.copy > 0)
  assert.deepEqual(
    first.codecs.map(({ codec }) => codec),
    [...CODEC_NAMES],
  )
  for (const [index, figures] of first.codecs.entries()) {
    assert.equal(figures.bytes, codecs[figures.codec].bytes(options.values))
    assert.equal(figures.meanSquaredError, again.codecs[index]!.meanSquaredError)
    assert.ok(figures.encode > 0 && figures.decode > 0)
  }
  assert.deepEqual(
    first.memories.map(({ memory }) => memory),
    ['none', 'decay', 'ef21', 'econtrol'],
  )
  assert.ok(first.memories.every(({ codec, send }) => codec === 'topk' && send > 0))
  // From exact to coarse.
  const errors = first.codecs.map(({ meanSquaredError }) => meanSquaredError)
  assert.deepEqual(
    errors,
    [...errors].sort((a, b) => a - b),
  )
  assert.equal(errors[0], 0)
})

test('an aborted measurement stops', () => {
  const signal = AbortSignal.abort(new Error('enough'))
  assert.throws(() => benchCodec({ runs: 1, values: 70_000, signal }), /enough/)
})
