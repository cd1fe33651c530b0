import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problemsOf } from '../manifest/problems.ts'
import { spsaOptionsSchema } from './options.ts'

const problem = (options: unknown): string => {
  const { found } = problemsOf(spsaOptionsSchema, options, ['strategy'])
  assert.ok(found.length > 0, 'it was accepted')
  const { path, key, message, allowed } = found[0]!
  return key === undefined ? `${path.join('.')} ${message}` : `${key} is not known; ${allowed?.join(' ')}`
}

test('every option has a default, and parsed options parse to themselves', () => {
  for (const given of [{}, { variant: 'seeded' }, { directions: 'gaussian', scaling: 'sqrt', learningRate: 1e-4 }]) {
    const options = spsaOptionsSchema.parse(given)
    assert.deepEqual(spsaOptionsSchema.parse(options), options)
  }
  assert.equal('coordinates' in spsaOptionsSchema.parse({}), false)
  assert.equal(spsaOptionsSchema.parse({ variant: 'seeded' }).coordinates, 64)
})

test('wrong values get one sentence that names the key and what is allowed', () => {
  assert.match(problem({ variant: 'ferret' }), /^strategy\.variant must be "spsa" or "seeded", not "ferret"$/)
  assert.match(problem({ scaling: 'max' }), /^strategy\.scaling must be "sum" or "sqrt" or "mean"/)
  assert.match(
    problem({ quantum: 0.001 }),
    /^strategy\.quantum must be a power of two like 0\.0009765625 \(2\^-10\), not 0\.001$/,
  )
  assert.match(problem({ clip: 0.0001 }), /^strategy\.clip must be at least the quantum 0\.0009765625,/)
  assert.match(problem({ learningRate: 0 }), /^strategy\.learningRate must be .*above 0/)
  assert.match(problem({ epsilon: -1 }), /^strategy\.epsilon/)
  assert.match(problem({ batch: 0 }), /^strategy\.batch/)
  assert.match(problem({ finalRate: 0 }), /^strategy\.finalRate/)
  assert.match(problem({ learningrate: 1 }), /^learningrate is not known; .*learningRate/)
})

test('what belongs to one variant is refused with the other', () => {
  assert.match(problem({ coordinates: 8 }), /^strategy\.coordinates is an option of variant seeded/)
  assert.match(
    problem({ variant: 'seeded', coordinates: 10, blocks: 4 }),
    /^strategy\.coordinates must be a multiple of blocks \(4\)/,
  )
})
