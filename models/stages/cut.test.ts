import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { initialize, layoutOf, type ModelConfig } from '../architectures/index.ts'
import { presets } from '../presets/index.ts'
import { stageModels } from './fixtures.ts'
import { assembleStages, type CutOptions, cutModel, stageLayouts, stageVectors, wholeRanges } from './index.ts'

const decoder = stageModels.decoder
const digits = { height: 28, width: 28, channels: 1, classes: 10 }

function cut(model: ModelConfig, stages: CutOptions['stages'], more: Partial<CutOptions> = {}, batch = 8) {
  return cutModel(model, { stages, places: 2, microbatches: 4, accumulators: 1, ...more }, batch)
}

describe('cutModel', () => {
  it('deals layers as evenly as can be, or as it is told', () => {
    assert.deepEqual(cut(decoder, 4).layers, [0, 1, 1, 1, 1])
    assert.deepEqual(cut(decoder, 3).layers, [0, 2, 1, 1])
    assert.deepEqual(cut(decoder, [1, 3]).layers, [0, 1, 3])
    assert.equal(cut(decoder, 3).stages, 3)
    assert.equal(cut(decoder, 3).rows, 2)
  })

  it('knows which stages are alike', () => {
    assert.ok(cut(decoder, 2).alike)
    assert.ok(cut(decoder, 4).alike)
    assert.ok(!cut(decoder, 3).alike)
    // The same filters, but pooling makes the map smaller.
    assert.ok(!cut({ ...stageModels.cnn, channels: 4, filters: [4, 4] }, 2).alike)
    assert.ok(!cut(stageModels.mlp, 3).alike)
    assert.ok(cut({ ...stageModels.mlp, hidden: [6, 6, 6] }, 2).alike)
  })

  it('counts the values that leave each part for a row', () => {
    assert.deepEqual(cut(decoder, 2).stream, [6 * 16, 6 * 16, 6 * 16])
    assert.deepEqual(cut(stageModels.cnn, 2).stream, [9 * 8 * 2, 4 * 4 * 4, 2 * 2 * 3])
    assert.deepEqual(cut(stageModels.mlp, [1, 2]).stream, [7, 5, 6])
  })

  it('leaves the tied embedding with the ends, once', () => {
    const tied = stageModels['decoder with grouped keys and tied embedding']
    const [ends] = stageLayouts(tied, cut(tied, 3))
    assert.deepEqual(
      ends?.tensors.map(({ name }) => name),
      ['model.embed_tokens.weight', 'model.norm.weight'],
    )
  })

  it('gives every tensor of the whole model to one part, where its start is that of the whole model', () => {
    for (const [model, stages] of [
      [decoder, [2, 1, 1]],
      [stageModels.cnn, 2],
      [stageModels.mlp, [1, 2]],
      [{ ...presets['gpt-nano'], vocabulary: 256 }, 2],
    ] as [ModelConfig, CutOptions['stages']][]) {
      const parts = cut(model, stages)
      const layout = layoutOf(model)
      const theta = new Float32Array(layout.length)
      initialize(layout, model, 5, theta)
      const layouts = stageLayouts(model, parts)
      assert.deepEqual(
        layouts.map(({ length }) => length),
        parts.sizes,
      )
      const values = layouts.map((part) => {
        const vector = new Float32Array(part.length)
        initialize(part, model, 5, vector)
        return vector
      })
      const assembled = new Float32Array(layout.length).fill(7)
      assembleStages(model, parts, values, assembled)
      assert.deepEqual(assembled, theta)
      const ranges = wholeRanges(model, parts)
      assert.deepEqual(
        ranges.map(({ name }) => name),
        layout.tensors.map(({ name }) => name),
      )
      for (const { name, part, offset, length } of ranges) {
        const found = layouts[part]?.tensors.find((tensor) => tensor.name === name)
        assert.deepEqual([found?.offset, found?.length], [offset, length])
      }
    }
  })

  it('names the key, the value and what is allowed when it cannot be', () => {
    const wrong = (message: RegExp, ...args: Parameters<typeof cut>) => {
      assert.throws(() => cut(...args), { name: 'ModelError', code: 'bad-model', message })
    }
    wrong(
      /^strategy\.stages is 5; it must be a whole number from 1 to 4, the layers that model\.layers gives/,
      decoder,
      5,
    )
    wrong(/^strategy\.stages is 0; it must be a whole number from 1 to 4/, decoder, 0)
    wrong(/^strategy\.stages is 1\.5;/, decoder, 1.5)
    wrong(/^strategy\.stages is \[2,1\]; it must be a list .* that sum up to 4/, decoder, [2, 1])
    wrong(/^strategy\.stages is \[4,0\];/, decoder, [4, 0])
    wrong(/^strategy\.stages is \[\];/, decoder, [])
    wrong(/from 1 to 2, the layers that model\.filters/, { ...presets['digits-cnn'], ...digits }, 3)
    wrong(/from 1 to 1, the layers that model\.hidden/, { ...presets['digits-mlp'], ...digits }, 2)
    wrong(/^strategy\.microbatches is 3; it must be a divisor of training\.batch \(8\)/, decoder, 2, {
      microbatches: 3,
    })
    wrong(/^strategy\.places is 0; it must be a whole number above 0/, decoder, 2, { places: 0 })
    wrong(/^strategy\.accumulators is -1;/, decoder, 2, { accumulators: -1 })
    wrong(/^model\.width is 15;/, { ...decoder, width: 15 }, 2)
  })

  it('refuses parts that are too short to be put together', () => {
    const parts = cut(decoder, 2)
    const values = parts.sizes.map((size) => new Float32Array(size))
    const theta = new Float32Array(layoutOf(decoder).length)
    assert.throws(() => assembleStages(decoder, parts, values.slice(0, 2), theta), { code: 'vector-length' })
  })
})

describe('stageVectors', () => {
  it('has room for the ends and all places in every vector, and for the largest stream', () => {
    const model = stageModels.mlp
    const parts = cut(model, [1, 2], { places: 3, accumulators: 2 })
    const [ends, first, second] = parts.sizes as [number, number, number]
    const length = ends + 3 * Math.max(first, second)
    const training = { batch: 8, steps: 1, optimizer: { name: 'sgd', learningRate: 1 } } as const
    assert.deepEqual(stageVectors(training, parts), {
      theta: { type: 'float32', length },
      gradient: { type: 'float32', length },
      'gradient-1': { type: 'float32', length },
      'sgd.velocity': { type: 'float32', length },
      stream: { type: 'float32', length: 2 * 7 },
    })
  })
})
