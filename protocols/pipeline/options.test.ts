import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { StageCut } from '../ports.ts'
import { keptStages, pipelineOptionsSchema, quotaOf, slotsOf } from './options.ts'
import { pipeline } from './strategy.ts'

const problem = (options: Record<string, unknown>): string => {
  const { error } = pipelineOptionsSchema.safeParse(options)
  const issue = error?.issues[0]
  return issue === undefined ? '' : `${issue.path.join('.')} ${issue.message}`
}

describe('the options of a pipeline', () => {
  test('have defaults', () => {
    const options = pipelineOptionsSchema.parse({})
    assert.deepEqual(
      [options.stages, options.microbatches, options.routing, options.recovery],
      [2, 4, 'sequential', 'checkfree'],
    )
  })

  test('a bad value is named with what is allowed', () => {
    for (const [options, words] of [
      [{ stages: 0 }, /^stages must be a number of stages from 1 to 64/],
      [{ stages: [2, 1, 1] }, /^stages must all have as many layers with recovery: checkfree/],
      [
        { stages: [2, 1, 1, 1], recovery: 'random', routing: 'twins' },
        /^stages must all have as many layers with routing: twins/,
      ],
      [{ stages: 3, routing: 'twins' }, /^stages must be 4 or more with routing: twins, not 3/],
      [{ stages: 4, routing: 'twins', microbatches: 3 }, /^microbatches must be even with routing: twins, not 3/],
      [
        { stages: 4, routing: 'skip', skip: { keep: 5 } },
        /^skip.keep must be from 2 to the number of stages, 4, not 5/,
      ],
      [{ stages: 4, skip: { keep: 9 } }, /^skip.keep must be from 2 to the number of stages, 4, not 9/],
      [{ routing: 'sideways' }, /^routing /],
      [{ outer: { beta: 9 } }, /^outer.beta must be/],
      [{ colour: 'red' }, /colour/],
    ] as const) {
      assert.match(problem(options), words)
    }
    assert.equal(problem({ stages: [2, 1, 1], recovery: 'random' }), '')
  })

  test('no stage is asked for more memory than it has', () => {
    for (const inFlight of [1, 2, 3, 4, 7]) {
      for (const dataPeers of [1, 2, 3, 4]) {
        const options = { inFlight, dataPeers }
        assert.ok(quotaOf(options) >= 1)
        assert.equal(slotsOf(options), dataPeers * quotaOf(options))
        assert.ok(slotsOf(options) <= Math.max(inFlight, dataPeers))
      }
    }
  })

  test('two thirds of the stages are kept, but two at least', () => {
    const kept = [1, 2, 3, 4, 6, 8].map((stages) => keptStages(pipelineOptionsSchema.parse({ stages })))
    assert.deepEqual(kept, [1, 2, 2, 3, 4, 5])
  })

  test('a cut into stages that are not alike is refused where they must be', () => {
    const cut = { alike: false, stages: 3, layers: [0, 2, 1, 1] } as unknown as StageCut
    const misfit = (options: Record<string, unknown>) => pipeline.misfit!(pipelineOptionsSchema.parse(options), cut)
    assert.match(
      misfit({ stages: 3 })!,
      /^strategy.stages: must all be alike with recovery: checkfree .*; 3 gives 2, 1, 1 layers$/,
    )
    assert.match(misfit({ stages: 3, recovery: 'random', routing: 'skip', skip: { keep: 3 } })!, /routing: skip/)
    assert.equal(misfit({ stages: 3, recovery: 'checkpoint' }), undefined)
  })
})
