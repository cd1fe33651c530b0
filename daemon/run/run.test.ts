import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type DataFile, layoutTensors, type TensorBytes, writeSafetensors } from '../../models/index.ts'
import { type Blobs, type Clock, runId, StarlingError } from '../../protocols/index.ts'
import { checkWeights, describeFiles, describeWeights } from './data.ts'
import { obtainFiles } from './files.ts'
import { buildRun, formatRun, openRun, parseRun } from './run.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-run-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const text = 'The quick brown fox jumps over the lazy dog.\n'.repeat(100)

describe('runs', () => {
  it('are the same whether built, read from a file or from bytes', () => {
    const run = buildRun({ name: 'same', training: { steps: 100 }, strategy: { name: 'noloco', innerSteps: 10 } })
    assert.equal(runId(run.bytes), run.id)
    assert.equal(parseRun(formatRun(run)).id, run.id)
    assert.deepEqual(openRun(run.bytes).manifest, run.manifest)
    assert.equal(run.training.steps, 100)
    assert.ok(run.layout.parameters > 700_000, 'gpt-nano is what text gets')
    assert.notEqual(
      buildRun({ name: 'same', training: { steps: 101 }, strategy: { name: 'noloco', innerSteps: 10 } }).id,
      run.id,
    )
  })

  it('are refused with the key and what is allowed', () => {
    const build = (options: object) => () => buildRun(options as never)
    assert.throws(build({ training: { lerningRate: 1 } }), {
      code: 'bad-manifest',
      message: /lerningRate.*learningRate/s,
    })
    assert.throws(build({ training: { steps: 0 } }), { code: 'bad-manifest', message: /training\.steps .*not 0/ })
    assert.throws(build({ strategy: { name: 'nocolo' } }), { code: 'bad-manifest', message: /strategy\.name .*noloco/ })
    assert.throws(build({ strategy: { name: 'noloco', gamma: 5 } }), { code: 'bad-manifest', message: /gamma/ })
    assert.throws(build({ model: { preset: 'digits-cnn' } }), {
      code: 'bad-manifest',
      message: /digits-cnn reads images/,
    })
    assert.throws(() => openRun(new Uint8Array(10)), { code: 'bad-manifest' })
  })

  it('of a pipeline know the parts of their model, and are refused where it cannot be cut so', () => {
    const build = (stages: unknown, training = {}) =>
      buildRun({ training, strategy: { name: 'pipeline', stages, microbatches: 8, recovery: 'checkpoint' } })
    assert.deepEqual(build(4).cut?.layers, [0, 1, 1, 1, 1])
    assert.deepEqual(build([3, 1]).cut?.layers, [0, 3, 1])
    assert.equal(build(2).cut?.rows, 2)
    assert.equal(buildRun({}).cut, undefined)
    const fault = (message: RegExp) => ({ code: 'bad-manifest', message })
    assert.throws(() => build(5), fault(/strategy\.stages is 5; .* 1 to 4, the layers that model\.layers/))
    assert.throws(() => build([2, 1]), fault(/strategy\.stages is \[2,1\]; .* sum up to 4/))
    assert.throws(() => build(2, { batch: 12 }), fault(/strategy\.microbatches is 8; .*training\.batch \(12\)/))
  })
})

describe("a user's files", () => {
  it('are named by content', async () => {
    const path = join(folder, 'fox.txt')
    await writeFile(path, text)
    const data = await describeFiles([path])
    assert.equal(data.source, 'text')
    assert.deepEqual(buildRun({ data: data as never }).manifest.data.source, 'text')
    assert.equal((data.file as DataFile).size, text.length)
  })

  it('are refused with a reason when they are missing, empty, binary or a folder', async () => {
    const empty = join(folder, 'empty')
    const binary = join(folder, 'binary')
    await writeFile(empty, '')
    await writeFile(binary, new Uint8Array(1_000))
    await assert.rejects(describeFiles([join(folder, 'nothing')]), { code: 'data-missing', message: /nothing/ })
    await assert.rejects(describeFiles([empty]), { code: 'data-empty' })
    await assert.rejects(describeFiles([binary]), { code: 'not-text' })
    await assert.rejects(describeFiles([folder]), { code: 'data-missing' })
  })
})

describe('obtaining files', () => {
  const clock: Clock = { now: () => 0, sleep: async (_ms, signal) => signal?.throwIfAborted() }
  const bytes = new TextEncoder().encode(text)
  let file: DataFile
  before(async () => {
    const path = join(folder, 'source.txt')
    await writeFile(path, bytes)
    file = ((await describeFiles([path])) as { file: DataFile }).file
  })

  /** Bulk transfer whose peers have the file, or not; counts what is asked of it. */
  const blobsWith = (have: boolean): Blobs & { offered: Uint8Array[]; pulls: number } => {
    const blobs = {
      offered: [] as Uint8Array[],
      pulls: 0,
      offer: async (given: Uint8Array) => {
        blobs.offered.push(given)
        return { root: file.root, size: given.length }
      },
      pull: async (_holders: unknown, _reference: unknown, into: Uint8Array) => {
        blobs.pulls += 1
        if (!have) throw new StarlingError('no-holder', 'nobody has it')
        into.set(bytes)
        return { bytes: bytes.length, milliseconds: 1, holders: ['A'], failures: [] }
      },
    }
    return blobs as never
  }
  const modules = (blobs: Blobs) => ({ clock, blobs, holders: () => ['A'], waiting: () => {} })
  const signal = new AbortController().signal

  it('takes the local file, keeps it under its hash, offers it, and needs nothing the next time', async () => {
    const place = join(folder, 'local')
    const blobs = blobsWith(false)
    const paths = await obtainFiles(
      [file],
      { folder: place, localPath: join(folder, 'source.txt'), signal },
      modules(blobs),
    )
    assert.deepEqual(await readFile(paths[file.root] as string, 'utf8'), text)
    assert.equal(blobs.offered.length, 1)
    await obtainFiles([file], { folder: place, signal }, modules(blobs))
    assert.equal(blobs.pulls, 0)
  })

  it('fetches from peers what is not here, and replaces a damaged copy', async () => {
    const place = join(folder, 'fetched')
    const blobs = blobsWith(true)
    const paths = await obtainFiles([file], { folder: place, signal }, modules(blobs))
    await writeFile(paths[file.root] as string, text.replace('fox', 'cat'))
    await obtainFiles([file], { folder: place, signal }, modules(blobs))
    assert.equal(await readFile(paths[file.root] as string, 'utf8'), text)
    assert.equal(blobs.pulls, 2)
  })

  it('refuses a local file that is not the one of the run', async () => {
    const other = join(folder, 'other.txt')
    await writeFile(other, `${text}!`)
    const options = { folder: join(folder, 'mismatch'), localPath: other, signal }
    await assert.rejects(obtainFiles([file], options, modules(blobsWith(true))), {
      code: 'data-mismatch',
      message: /other\.txt/,
    })
  })

  it('says what it waits for while nobody has the file, until it is aborted', async () => {
    const stop = new AbortController()
    const said: string[] = []
    const waiting = (what: string): void => {
      said.push(what)
      if (said.length === 3) stop.abort(new Error('enough'))
    }
    const options = { folder: join(folder, 'waiting'), signal: stop.signal }
    await assert.rejects(obtainFiles([file], options, { ...modules(blobsWith(false)), waiting }), /enough/)
    assert.match(said[0] as string, /source\.txt/)
  })
})

describe('weights to start from', () => {
  const run = buildRun({ data: { source: 'digits', images: 100 }, model: { preset: 'digits-mlp' } })
  const { layout } = run
  const theta = Float32Array.from({ length: layout.length }, (_, index) => Math.sin(index))
  const write = async (name: string, tensors: TensorBytes[]): Promise<string> => {
    const path = join(folder, name)
    const { header, views } = writeSafetensors(tensors)
    await writeFile(path, Buffer.concat([header, ...views]))
    return path
  }
  const unfit = (message: RegExp): object => ({ code: 'weights-unfit', message })

  it('are named by their content in the manifest, and make another run', async () => {
    const path = await write('start.safetensors', layoutTensors(layout, theta))
    await checkWeights(path, layout)
    const weights = await describeWeights(path)
    assert.deepEqual([weights.name, weights.size], ['start.safetensors', (await readFile(path)).length])
    const made = buildRun({ data: { source: 'digits', images: 100 }, model: { preset: 'digits-mlp' }, weights })
    assert.notEqual(made.id, run.id)
    assert.deepEqual(made.model, run.model)
    assert.deepEqual(parseRun(formatRun(made)).manifest.model.weights, weights)
    const bad = { ...weights, root: 'x' }
    const build = (): unknown => buildRun({ model: { preset: 'gpt-nano' }, weights: bad })
    assert.throws(build, { code: 'bad-manifest', message: /model\.weights\.root must be a SHA-256 hash/ })
  })

  it('are refused with the tensor that does not fit', async () => {
    const tensors = layoutTensors(layout, theta)
    const [first, ...rest] = tensors as [TensorBytes, ...TensorBytes[]]
    const shaped = { ...first, shape: [...first.shape].reverse() }
    await assert.rejects(checkWeights(await write('few', rest), layout), unfit(/few .*holds no tensor/))
    await assert.rejects(
      checkWeights(await write('more', [...tensors, { ...first, name: 'x' }]), layout),
      unfit(/no tensor x/),
    )
    await assert.rejects(checkWeights(await write('turned', [shaped, ...rest]), layout), unfit(/but the model's is/))
    const broken = theta.slice()
    broken[layout.tensors[1]?.offset ?? 0] = Number.NaN
    await assert.rejects(checkWeights(await write('nan', layoutTensors(layout, broken)), layout), unfit(/is NaN/))
    const path = join(folder, 'text.safetensors')
    await writeFile(path, text)
    await assert.rejects(checkWeights(path, layout), unfit(/text\.safetensors does not fit the model/))
  })
})
