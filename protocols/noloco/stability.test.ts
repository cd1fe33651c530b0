import assert from 'node:assert/strict'
import { test } from 'node:test'
import { consensusBound, nolocoOptionsSchema } from './stability.ts'

const problem = (options: unknown): string => {
  const result = nolocoOptionsSchema.safeParse(options)
  assert.ok(!result.success, 'it was accepted')
  const issue = result.error.issues[0]!
  return `${issue.path.join('.')}: ${issue.message}`
}

test('the bound has the values of the exact analysis', () => {
  for (const [alpha, ...bounds] of [
    [0, 2, 2, 2, 2],
    [0.3, 2.02, 1.9, 1.86, 1.82],
    [0.5, 1.8, 1.62, 1.55, 1.5],
    [0.9, 0.54, 0.44, 0.4, 0.38],
  ] as const) {
    const found = [4, 8, 16, Number.POSITIVE_INFINITY].map((replicas) => consensusBound(alpha, { replicas }))
    for (const [i, bound] of found.entries()) {
      assert.ok(Math.abs(bound - bounds[i]!) < 0.0101, `alpha ${alpha}: ${bound} instead of ${bounds[i]}`)
    }
  }
})

test('defaults are those of the paper and its code, with shorter local phases', () => {
  const options = nolocoOptionsSchema.parse({})
  assert.deepEqual(
    [options.innerSteps, options.alpha, options.beta, options.gamma, options.codec],
    [20, 0.5, 0.7, undefined, 'int8'],
  )
})

test('unstable constants are refused with the bound in the message (conformance 6)', () => {
  assert.match(problem({ gamma: 1.5 }), /^gamma: .*below 2\(1 - alpha²\) = 1\.5,.*it is 1\.5$/)
  assert.match(problem({ gamma: 0 }), /^gamma: must be above 0/)
  assert.match(problem({ alpha: 0.9, beta: 0.7 }), /^beta: \(which gamma follows\).* = 0\.38,/)
  assert.match(problem({ alpha: 0.9, beta: 0.7, gamma: 0.7 }), /^gamma: .* = 0\.38,/)
  assert.match(problem({ alpha: 1 }), /^alpha: must be at least 0 and below 1, not 1/)
  assert.match(problem({ beta: 3.2, gamma: 0.5 }), /^beta: .*2\(1 \+ alpha\) = 3,? /)
  assert.ok(nolocoOptionsSchema.safeParse({ alpha: 0.9, beta: 0.7, gamma: 0.3 }).success)
  assert.ok(nolocoOptionsSchema.safeParse({ gamma: 1.49 }).success)
})

test('unknown keys and impossible values are refused', () => {
  assert.match(problem({ inerSteps: 5 }), /inerSteps/)
  assert.match(problem({ innerSteps: 0 }), /^innerSteps/)
  assert.match(problem({ codec: 'gzip' }), /^codec/)
  assert.match(problem({ alpha: Number.NaN }), /^alpha/)
})

test('codes through which pairs do not converge are refused with the reason', () => {
  for (const codec of ['int8', 'float16', 'float32']) {
    assert.equal(nolocoOptionsSchema.parse({ codec }).codec, codec)
  }
  const allowed = 'codec: must be "int8" or "float16" or "float32"'
  assert.equal(
    problem({ codec: 'topk' }),
    `${allowed}: topk does not fit pair gossip: the largest values of whole models do not converge, however long they are exchanged`,
  )
  assert.match(problem({ codec: 'sign' }), /sign does not fit pair gossip: /)
  assert.match(problem({ codec: 'int4' }), /int4 does not fit pair gossip: /)
})
