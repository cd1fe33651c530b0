import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { ModelError } from '../errors.ts'
import { readIdx, readIdxImages } from './idx.ts'
import { type DataSpec, dataSchema, generateStories, inspectImages, inspectText, openDataset } from './index.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-data-'))
})
after(async () => {
  await rm(folder, { recursive: true, force: true })
})

const root = 'a'.repeat(64)
const shard = { index: 0, count: 1 }

function textSpec(bytes: Uint8Array, more: object = {}): DataSpec {
  return dataSchema.parse({ source: 'text', file: { name: 'my.txt', root, size: bytes.length }, ...more })
}

function openText(bytes: Uint8Array, context = 16) {
  return openDataset({ data: textSpec(bytes), context, seed: 1, shard, file: bytes })
}

function idx(shape: readonly number[], data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length)
  bytes.set([0, 0, 8, shape.length])
  const view = new DataView(bytes.buffer)
  shape.forEach((size, i) => {
    view.setUint32(4 + 4 * i, size)
  })
  bytes.set(data, 4 + 4 * shape.length)
  return bytes
}

const rejects = (promise: Promise<unknown>, code: string, sentence: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof ModelError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, sentence)
    return true
  })

test('the embedded data sets open without a file', async () => {
  const stories = await openDataset({
    data: dataSchema.parse({ source: 'stories' }),
    context: 64,
    seed: 1,
    shard: { index: 1, count: 4 },
  })
  const batch = stories.batch(0, 16)
  assert.ok(batch.kind === 'text' && stories.kind === 'text')
  assert.deepEqual([batch.inputs.length, stories.classes, stories.tokenizer?.size], [16 * 64, 256, 256])
  assert.match(stories.tokenizer!.decode(batch.inputs), /^[ -~\n]+$/)
  const digits = await openDataset({ data: dataSchema.parse({ source: 'digits', images: 300 }), seed: 1, shard })
  const images = digits.batch(0, 8)
  assert.ok(images.kind === 'image')
  assert.deepEqual([images.pixels.length, images.labels.length, digits.classes], [8 * 28 * 28, 8, 10])
  assert.ok(images.pixels.every((value) => value >= 0 && value <= 1))
  assert.equal(
    [...digits.validation(7)].reduce((sum, { rows }) => sum + rows, 0),
    30,
  )
})

test('a text of a user is read from a path or from bytes alike', async () => {
  const bytes = new TextEncoder().encode('Grüße aus dem Wald! '.repeat(40))
  const path = join(folder, 'my.txt')
  await writeFile(path, bytes)
  assert.deepEqual(await inspectText(path), { bytes: bytes.length })
  await rejects(inspectText(path, undefined, 1000), 'text-too-short', /needs at least 2002/)
  const options = { data: textSpec(bytes), context: 16, seed: 1, shard }
  const fromPath = await openDataset({ ...options, file: path })
  const fromBytes = await openDataset({ ...options, file: bytes })
  assert.deepEqual(fromPath.batch(3, 4), fromBytes.batch(3, 4))
})

test('a missing, empty, foreign or too short text is named', async () => {
  const data = textSpec(new Uint8Array(9))
  const options = { data, context: 16, seed: 1, shard }
  await rejects(openDataset(options), 'data-file-needed', /the run needs the file my\.txt, which is not here/)
  await rejects(openDataset({ ...options, file: join(folder, 'no.txt') }), 'file-missing', /no\.txt does not exist$/)
  await rejects(openDataset({ ...options, file: folder }), 'file-unreadable', /is not a file$/)
  await rejects(openDataset({ ...options, file: new Uint8Array(0) }), 'file-empty', /^my\.txt is empty$/)
  await rejects(openDataset({ ...options, file: new Uint8Array(8) }), 'file-size', /holds 8 bytes, but the run says 9$/)
  const short = new TextEncoder().encode('a'.repeat(33))
  await rejects(
    openText(short),
    'text-too-short',
    /^my\.txt holds 33 bytes; a context of 16 needs at least 34: one row of 17/,
  )
  const cut = { ...options, data: textSpec(short.subarray(0, 33), { shard: { rule: 'disjoint', of: 9 } }) }
  await rejects(
    openDataset({ ...cut, context: 4, file: short }),
    'text-too-short',
    /the 28 bytes of my\.txt to train on cannot be cut into 9 parts of at least 5 bytes \(context 4\); cut into at most 5/,
  )
  const least = new TextEncoder().encode('a'.repeat(34))
  await assert.doesNotReject(openText(least))
  const open = textSpec(least, { shard: { rule: 'disjoint' } })
  await assert.doesNotReject(openDataset({ data: open, context: 16, seed: 1, shard: { peer: 'x' }, file: least }))
})

test('what is not text is named with its first byte', async () => {
  const text = generateStories(1, 5000)
  const nul = text.slice()
  nul[4321] = 0
  await rejects(openText(nul), 'not-text', /^my\.txt is not text: byte 4321 is NUL$/)
  const noise = Uint8Array.from({ length: 5000 }, (_, i) => 1 + ((i * 7919) % 255))
  await rejects(
    openText(noise),
    'not-text',
    /^my\.txt is not UTF-8 text: \d+ % of it cannot be read as characters, the first at byte \d+$/,
  )
  await rejects(
    openText(new Uint8Array(Buffer.from('\ufeffhello there', 'utf16le'))),
    'not-text',
    /UTF-16 text; save it as UTF-8/,
  )
  const foreign = new TextEncoder().encode('Λίγα λόγια και 漢字 и слова 🐦 '.repeat(3000))
  await assert.doesNotReject(openText(foreign))
  const stray = text.slice()
  stray[100] = 0xff
  await assert.doesNotReject(openText(stray))
})

test('an abort stops the opening', async () => {
  const reason = new Error('stop')
  const options = {
    data: dataSchema.parse({ source: 'digits', images: 100 }),
    seed: 1,
    shard,
    signal: AbortSignal.abort(reason),
  }
  await assert.rejects(openDataset(options), reason)
})

test('IDX images open plain and packed, and what they are is found out', async () => {
  const pixels = Uint8Array.from({ length: 12 * 6 }, (_, i) => i)
  const labels = Uint8Array.from({ length: 12 }, (_, i) => i % 3)
  const files = { images: idx([12, 2, 3], pixels), labels: gzipSync(idx([12], labels)) }
  assert.deepEqual(await inspectImages(files.images, files.labels), { count: 12, height: 2, width: 3, classes: 3 })
  const data = dataSchema.parse({
    source: 'images',
    images: { name: 'images.idx', root, size: files.images.length },
    labels: { name: 'labels.gz', root, size: files.labels.length },
    height: 2,
    width: 3,
    classes: 3,
  })
  const dataset = await openDataset({ data, seed: 1, shard, file: files.images, labels: files.labels })
  const batch = dataset.batch(0, 11)
  assert.ok(batch.kind === 'image')
  batch.labels.forEach((label, row) => {
    const image = Math.round(batch.pixels[row * 6]! * 255) / 6
    assert.equal(label, image % 3)
  })
  const other = { ...data, height: 3, width: 2 } as DataSpec
  await rejects(
    openDataset({ data: other, seed: 1, shard, file: files.images, labels: files.labels }),
    'bad-idx',
    /images\.idx holds images of 2 x 3, but the run says 3 x 2/,
  )
})

test('a damaged IDX file is named with the place', () => {
  const good = idx([2, 2, 2], new Uint8Array(8))
  const fault = (bytes: Uint8Array, sentence: RegExp) => assert.throws(() => readIdx(bytes, 'f', 3), sentence)
  fault(
    good.subarray(0, 3),
    /^ModelError: f is not the IDX file that is needed: the file ends within its first 4 bytes at byte 3$/,
  )
  fault(Uint8Array.of(1, ...good.subarray(1)), /the first two bytes are not zero at byte 0/)
  fault(Uint8Array.of(0, 0, 13, ...good.subarray(3)), /elements are float32, not uint8, at byte 2/)
  fault(idx([8], new Uint8Array(8)), /1 dimensions, not 3, at byte 3/)
  fault(good.subarray(0, 10), /within its 16 bytes of header at byte 10/)
  fault(good.subarray(0, 23), /dimension 2 of 2 needs more elements than the 7 in the file at byte 12/)
  fault(Uint8Array.of(...good, 9), /1 bytes too many at byte 24/)
  fault(idx([2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], new Uint8Array(8)), /dimension 0 of 4294967295 needs more/)
  const labels = (bytes: Uint8Array, classes?: number) => () =>
    readIdxImages({ name: 'i', bytes: good }, { name: 'l', bytes }, classes)
  assert.throws(labels(idx([3], new Uint8Array(3))), /l holds 3 labels, but i holds 2 images/)
  assert.throws(labels(idx([2], Uint8Array.of(0, 5)), 5), /l: label 5 at byte 9 is not below the 5 classes/)
})

test('no bytes make the IDX reader throw anything but its own error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (noise, magic) => {
      const bytes = magic ? Uint8Array.of(0, 0, 8, 3, ...noise) : noise
      try {
        const { shape, data } = readIdx(bytes, 'f', 3)
        assert.equal(
          shape.reduce((product, size) => product * size, 1),
          data.length,
        )
      } catch (error) {
        assert.ok(error instanceof ModelError && error.code === 'bad-idx', String(error))
      }
    }),
  )
})

test('a packed file that is cut off or unpacks without end is refused', async () => {
  const packed = gzipSync(idx([4], new Uint8Array(4)))
  await rejects(inspectImages(packed.subarray(0, 12), packed), 'bad-gzip', /the data cannot be unpacked/)
})
