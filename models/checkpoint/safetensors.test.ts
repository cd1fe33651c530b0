import assert from 'node:assert/strict'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import fc from 'fast-check'
import { initialize, layoutOf } from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import {
  type ByteSource,
  type Dtype,
  decoderFromHuggingFace,
  huggingFaceConfig,
  layoutTensors,
  loadTensors,
  readSafetensors,
  type TensorBytes,
  writeSafetensors,
} from './index.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-safetensors-'))
})
after(async () => {
  await rm(folder, { recursive: true, force: true })
})

/** The file as one piece. */
function assemble(tensors: readonly TensorBytes[], metadata?: Record<string, string>): Uint8Array {
  const { header, views } = writeSafetensors(tensors, metadata)
  return Buffer.concat([header, ...views])
}

/** A file with this header and this many bytes after it. */
function withHeader(header: string | object, dataBytes = 0): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const file = Buffer.alloc(8 + json.length + dataBytes)
  file.writeBigUInt64LE(BigInt(json.length))
  json.copy(file, 8)
  return file
}

const floats = (...values: number[]) => new Uint8Array(Float32Array.of(...values).buffer)

const refuses = (file: Uint8Array, sentence: RegExp) =>
  assert.rejects(readSafetensors(file, { name: 'f' }), (error) => {
    assert.ok(error instanceof ModelError && error.code === 'bad-safetensors', String(error))
    assert.match(error.message, /^f is not a safetensors file that can be read: /)
    assert.match(error.message, sentence)
    return true
  })

const anyTensors = fc
  .uniqueArray(
    fc.record({
      name: fc
        .string({ unit: 'binary', maxLength: 12 })
        .filter((name) => name !== '__metadata__' && name.isWellFormed()),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
      seed: fc.integer({ min: -1000, max: 1000 }),
    }),
    { selector: ({ name }) => name, maxLength: 8 },
  )
  .map((list) =>
    list.map(({ name, shape, seed }): TensorBytes => {
      const values = Float32Array.from(
        { length: shape.reduce((product, side) => product * side, 1) },
        (_, i) => seed + i / 7,
      )
      return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer) }
    }),
  )

test('what is written is read again, whatever the names and shapes', async () => {
  const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 })
  await fc.assert(
    fc.asyncProperty(anyTensors, metadata, async (tensors, extra) => {
      const file = await readSafetensors(assemble(tensors, extra))
      assert.deepEqual({ ...file.metadata }, { ...extra })
      assert.deepEqual([...file.tensors.keys()].sort(), tensors.map(({ name }) => name).sort())
      for (const { name, shape, data } of tensors) {
        assert.deepEqual(file.tensors.get(name)!.shape, shape)
        assert.deepEqual(await file.bytes(name), new Uint8Array(data))
        assert.deepEqual(await file.float32(name), new Float32Array(data.slice().buffer))
      }
      await file.close()
    }),
    { numRuns: 100 },
  )
})

test('the views are the ones given, at the offsets told, and the first is aligned', () => {
  const memory = new SharedArrayBuffer(64)
  const first = new Uint8Array(memory, 0, 16)
  const second = new Uint8Array(memory, 16, 8)
  const parts = writeSafetensors([
    { name: 'b', dtype: 'F32', shape: [2, 2], data: first },
    { name: 'a', dtype: 'F32', shape: [2], data: second },
  ])
  assert.ok(parts.views[0] === first && parts.views[1] === second)
  assert.equal(parts.header.length % 64, 0)
  assert.deepEqual(parts.offsets, [parts.header.length, parts.header.length + 16])
  assert.equal(parts.bytes, parts.header.length + 24)
})

test('what cannot be written is refused', () => {
  const tensor = (more: Partial<TensorBytes>): TensorBytes => ({
    name: 'x',
    dtype: 'F32',
    shape: [2],
    data: floats(1, 2),
    ...more,
  })
  assert.throws(() => writeSafetensors([tensor({}), tensor({})]), /tensor name "x" is taken/)
  assert.throws(() => writeSafetensors([tensor({ name: '__metadata__' })]), /is taken/)
  assert.throws(() => writeSafetensors([tensor({ shape: [3] })]), /tensor x of F32 \[3\] does not fit its 8 bytes/)
  assert.throws(() => writeSafetensors([tensor({ shape: [-2, -1] })]), /does not fit/)
})

test('half precision is read as single precision', async () => {
  const cases: [Dtype, number[], number[]][] = [
    ['BF16', [0x3f80, 0xc040, 0x0000, 0x7f80], [1, -3, 0, Number.POSITIVE_INFINITY]],
    [
      'F16',
      [0x3c00, 0xc200, 0x0001, 0x7bff, 0xfc00, 0x3555],
      [1, -3, 2 ** -24, 65504, Number.NEGATIVE_INFINITY, 0.333251953125],
    ],
  ]
  for (const [dtype, bits, values] of cases) {
    const data = new Uint8Array(Uint16Array.from(bits).buffer)
    const file = await readSafetensors(assemble([{ name: 'x', dtype, shape: [bits.length], data }]))
    assert.deepEqual([...(await file.float32('x'))], values)
  }
})

test('tensors are read one by one from a file, into shared memory too', async () => {
  const path = join(folder, 'two.safetensors')
  await writeFile(
    path,
    assemble([
      { name: 'a', dtype: 'F32', shape: [2], data: floats(1, 2) },
      { name: 'b', dtype: 'I64', shape: [1], data: new Uint8Array(8) },
    ]),
  )
  const file = await readSafetensors(path)
  const out = new Float32Array(new SharedArrayBuffer(8))
  assert.equal(await file.float32('a', out), out)
  assert.deepEqual([...out], [1, 2])
  await assert.rejects(file.float32('b'), /tensor b in .*two\.safetensors is I64; F32, F16 or BF16 is needed/)
  await assert.rejects(file.float32('c'), /holds no tensor c/)
  await assert.rejects(file.float32('a', new Float32Array(3)), /is \[2\], 2 values; 3 are needed/)
  await assert.rejects(file.bytes('a', AbortSignal.abort(new Error('stop'))), /stop/)
  await file.close()
  await assert.rejects(readSafetensors(join(folder, 'none')), /none does not exist$/)
  await assert.rejects(readSafetensors(folder), /is not a file$/)
})

test('a file that shrinks while it is read is named', async () => {
  const path = join(folder, 'shrinks.safetensors')
  await writeFile(path, assemble([{ name: 'a', dtype: 'F32', shape: [2], data: floats(1, 2) }]))
  const file = await readSafetensors(path)
  const handle = await open(path, 'r+')
  await handle.truncate(file.tensors.get('a')!.offset + 3)
  await handle.close()
  await assert.rejects(file.float32('a'), /it ends at byte \d+ while it is read/)
  await file.close()
})

test('every fault of a header is named with its place', async () => {
  const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] }
  await refuses(new Uint8Array(7), /it holds 7 bytes, less than the 8/)
  await refuses(
    withHeader({ a: entry }, 8).subarray(0, 20),
    /announce a header of \d+ bytes, but only 12 bytes follow$/,
  )
  await refuses(Buffer.from('ffffffffffffffff00', 'hex'), /announce a header of 18446744073709551615 bytes/)
  await refuses(withHeader('[]'), /does not start with \{/)
  await refuses(withHeader('{"a":'), /no \{ \(character 5 of the header\)/)
  await refuses(withHeader('{} {'), /more after the end of the table/)
  await refuses(
    withHeader('{"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}}', 8),
    /no whole number \(character 29/,
  )
  await refuses(withHeader('{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', 8), /no whole number/)
  await refuses(withHeader('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', 8), /no whole number/)
  await refuses(
    withHeader('{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}', 8),
    /no whole number/,
  )
  await refuses(withHeader({ a: { ...entry, shape: new Array(9).fill(1) } }, 8), /more than 8 numbers/)
  await refuses(
    withHeader({ a: { ...entry, dtype: 'F31' } }, 8),
    /tensor "a" has the unknown dtype "F31"; known are BOOL, U8/,
  )
  await refuses(withHeader({ a: { ...entry, dtype: 'toString' } }, 8), /unknown dtype "toString"/)
  await refuses(withHeader({ a: { ...entry, color: 1 } }, 8), /tensor "a" has the unknown key "color"/)
  await refuses(withHeader({ a: { dtype: 'F32', shape: [2] } }, 8), /tensor "a" has no data_offsets of the right form/)
  await refuses(withHeader({ a: { ...entry, data_offsets: [0] } }, 8), /has no data_offsets/)
  await refuses(
    withHeader({ a: { ...entry, data_offsets: [8, 0] } }, 8),
    /"a" of F32 \[2\] does not fill its bytes 8 to 0/,
  )
  await refuses(withHeader({ a: { ...entry, shape: [3] } }, 8), /\[3\] does not fill its bytes 0 to 8/)
  const huge = { a: { dtype: 'F32', shape: [2 ** 40, 2 ** 40, 2 ** 40], data_offsets: [0, 8] } }
  await refuses(withHeader(huge, 8), /does not fill its bytes 0 to 8/)
  await refuses(
    withHeader({ a: { ...entry, data_offsets: [4, 12] } }, 12),
    /"a" \(bytes 4 to 12\) leaves 4 bytes before it unused/,
  )
  await refuses(
    withHeader({ a: entry, b: { ...entry, data_offsets: [4, 12] } }, 12),
    /"b" \(bytes 4 to 12\) overlaps "a"/,
  )
  await refuses(withHeader({ a: entry }, 4), /"a" ends at byte 8, but only 4 bytes follow the header/)
  await refuses(withHeader({ a: entry }, 9), /1 bytes after the last tensor/)
  await refuses(withHeader(`{"a":${JSON.stringify(entry)},"a":${JSON.stringify(entry)}}`, 8), /the name "a" twice/)
  await refuses(withHeader('{"__metadata__":{"k":1}}'), /no string \(character 21/)
  await refuses(withHeader('{"__metadata__":{"k":"v'), /a string without an end/)
  await refuses(withHeader('{"__metadata__":{"k":"\\x"}}'), /a string that is not JSON/)
  await refuses(withHeader('{"a":'.repeat(100_000)), /of the header\)$/)
  await refuses(Buffer.concat([withHeader('{"').subarray(0, 8), Buffer.from([0x7b, 0xff])]), /the header is not UTF-8/)
})

test('a name like __proto__ is a name like any other', async () => {
  const tensors = ['__proto__', 'constructor', '7'].map(
    (name): TensorBytes => ({ name, dtype: 'F32', shape: [1], data: floats(5) }),
  )
  const metadata = JSON.parse('{"__proto__":"x"}') as Record<string, string>
  const file = await readSafetensors(assemble(tensors, metadata))
  assert.deepEqual([...file.tensors.keys()], ['__proto__', 'constructor', '7'])
  assert.equal(Object.getPrototypeOf({}), Object.prototype)
})

test('a file cut off anywhere is refused, and so is one with a changed byte or read within bounds', async () => {
  const good = assemble([
    { name: 'layer.weight', dtype: 'F32', shape: [2, 3], data: floats(1, 2, 3, 4, 5, 6) },
    { name: 'layer.bias', dtype: 'F32', shape: [3], data: floats(7, 8, 9) },
  ])
  for (let length = 0; length < good.length; length++) await refuses(good.subarray(0, length), /./)
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), async (at, byte) => {
      const bytes = good.slice()
      bytes[at] = byte
      await readOrRefuse(bytes)
    }),
    { numRuns: 500 },
  )
})

test('random headers and random bytes are read or refused, never more', async () => {
  const value = fc.json({ maxDepth: 3 })
  const offsets = fc.array(fc.nat(20), { maxLength: 3 })
  const entry = fc.record(
    { dtype: fc.constantFrom('F32', 'U8', 'Q'), shape: fc.array(fc.nat(5), { maxLength: 3 }), data_offsets: offsets },
    { requiredKeys: [] },
  )
  const header = fc.oneof(
    value,
    fc.dictionary(fc.string(), entry).map((table) => JSON.stringify(table)),
  )
  await fc.assert(
    fc.asyncProperty(header, fc.nat(24), (json, dataBytes) => readOrRefuse(withHeader(json, dataBytes))),
    { numRuns: 500 },
  )
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), readOrRefuse), { numRuns: 300 })
})

/** Reads everything through a source that fails the test when it is asked for bytes that it does not have. */
async function readOrRefuse(bytes: Uint8Array): Promise<void> {
  const source: ByteSource = {
    size: bytes.length,
    async read(offset, into) {
      assert.ok(offset >= 0 && offset + into.length <= bytes.length, `asked for ${into.length} bytes at ${offset}`)
      into.set(bytes.subarray(offset, offset + into.length))
    },
    async close() {},
  }
  try {
    const file = await readSafetensors(source)
    for (const name of file.tensors.keys()) await file.bytes(name)
  } catch (error) {
    assert.ok(error instanceof ModelError && error.code === 'bad-safetensors', String(error))
  }
}

const model = {
  architecture: 'decoder',
  vocabulary: 8,
  context: 4,
  layers: 1,
  width: 16,
  heads: 2,
  keyValueHeads: 1,
  hidden: 12,
} as const

test('a model goes through a file unchanged', async () => {
  const layout = layoutOf(model)
  const theta = new Float32Array(layout.length)
  initialize(layout, model, 3, theta)
  const file = await readSafetensors(assemble(layoutTensors(layout, theta), { format: 'pt' }))
  const loaded = new Float32Array(layout.length)
  await loadTensors(file, layout, loaded)
  assert.deepEqual(loaded, theta)
})

test('a file of another model is refused before a value is written', async () => {
  const layout = layoutOf(model)
  const tensors = layoutTensors(layout, new Float32Array(layout.length).fill(1))
  const load = async (list: TensorBytes[]) => {
    const out = new Float32Array(layout.length)
    await assert.doesNotReject(readSafetensors(assemble(list)))
    const result = loadTensors(await readSafetensors(assemble(list)), layout, out)
    return result.finally(() => assert.ok(out.every((value) => value === 0)))
  }
  await assert.rejects(load(tensors.slice(1)), /the file holds no tensor model\.embed_tokens\.weight/)
  await assert.rejects(
    load([...tensors, { name: 'x', dtype: 'F32', shape: [], data: floats(1) }]),
    /the model has no tensor x/,
  )
  const [first, ...rest] = tensors
  await assert.rejects(load([{ ...first!, shape: [4, 32] }, ...rest]), /is \[4, 32\], but the model's is \[8, 16\]/)
  await assert.rejects(load([{ ...first!, dtype: 'I32' }, ...rest]), /is I32; F32, F16 or BF16 is needed/)
  const bad = new Float32Array(layout.length)
  bad[layout.tensors[2]!.offset + 5] = Number.NaN
  const file = await readSafetensors(assemble(layoutTensors(layout, bad)))
  await assert.rejects(loadTensors(file, layout, new Float32Array(layout.length)), /q_proj\.weight: value 5 is NaN/)
})

test('config.json goes there and back, and names what cannot be computed', () => {
  const full = { ...model, tied: true, rotaryBase: 5000, normEpsilon: 1e-6 }
  assert.deepEqual(decoderFromHuggingFace(JSON.parse(JSON.stringify(huggingFaceConfig(full)))), full)
  const config = huggingFaceConfig(model)
  assert.equal(config.model_type, 'llama')
  const refused = (change: object, sentence: RegExp) =>
    assert.throws(
      () => decoderFromHuggingFace({ ...config, ...change }),
      (error) => {
        assert.ok(error instanceof ModelError && error.code === 'bad-config')
        assert.match(error.message, sentence)
        return true
      },
    )
  refused({ model_type: 'mistral' }, /^config\.json: model_type: /)
  refused({ attention_bias: true }, /attention_bias/)
  refused({ rope_scaling: { rope_type: 'llama3' } }, /rope_scaling/)
  refused({ hidden_size: undefined }, /hidden_size/)
  refused({ hidden_size: 10 }, /hidden_size must be a multiple of 2 x num_attention_heads = 4/)
  refused({ hidden_size: 24 }, /hidden_size must be a multiple of 16, not 24/)
  refused({ head_dim: 4 }, /head_dim must be hidden_size \/ num_attention_heads = 8, not 4/)
  refused({ num_key_value_heads: 3 }, /num_key_value_heads must divide/)
})
