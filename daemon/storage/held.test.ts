import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { cutModel, stageLayouts } from '../../models/index.ts'
import { loadCheckpoint } from './checkpoint-reader.ts'
import { writeCheckpoint } from './checkpoint-writer.ts'
import { heldLayout, heldParts } from './held.ts'

const model = {
  architecture: 'decoder',
  context: 8,
  layers: 3,
  width: 16,
  heads: 2,
  hidden: 32,
  vocabulary: 256,
} as const
const cut = cutModel(model, { stages: 3, places: 2, microbatches: 2, accumulators: 1 }, 4)

describe('what a peer of a pipeline holds', () => {
  it('is a checkpoint of named tensors, from which the same parameters come back', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'starling-held-'))
    try {
      const progress = {
        holds: [
          { stage: 0, place: 'ends' },
          { stage: 3, place: 1, step: 7 },
        ],
        data: true,
      }
      const layout = heldLayout(model, cut)(progress)
      const [ends, , , third] = stageLayouts(model, cut)
      assert.equal(layout.tensors.length, (ends?.tensors.length ?? 0) + (third?.tensors.length ?? 0))
      assert.ok(
        layout.tensors.every(({ name }) => name.startsWith('ends.') || /^place\.1\.model\.layers\.2\./.test(name)),
      )
      const theta = Float32Array.from({ length: layout.length }, (_, i) => i + 1)
      const path = join(folder, 'checkpoint')
      const data = new Uint8Array(theta.buffer)
      const fixed = { run: 'r', step: 7, model: {}, manifest: {}, config: {} }
      await writeCheckpoint(path, { ...fixed, progress, layout, vectors: { theta: { type: 'float32', data } } })
      const loaded = await loadCheckpoint(path)
      assert.deepEqual(
        heldParts(loaded.manifest.progress).map(({ stage }) => stage),
        [0, 3],
      )
      const found = loaded.vectors.theta as Float32Array
      for (const { offset, length, name } of layout.tensors)
        assert.deepEqual(found.subarray(offset, offset + length), theta.subarray(offset, offset + length), name)
      const held = layout.tensors.reduce((sum, { length }) => sum + length, 0)
      assert.equal(found.filter((value) => value !== 0).length, held, 'nothing else is kept')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('is nothing in the progress of other strategies', () => {
    assert.deepEqual(heldParts({ round: 3 }), [])
    assert.deepEqual(heldParts({ holds: 'all' }), [])
    assert.deepEqual(heldLayout(model, cut)({}).tensors, [])
  })
})
