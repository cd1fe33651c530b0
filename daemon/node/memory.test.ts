import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesOf, checkMemory } from './memory.ts'

const MEBIBYTE = 2 ** 20
const container = (mebibytes: number) => ({ bytes: mebibytes * MEBIBYTE, container: true })

describe('the memory of a node', () => {
  it('is refused where the system would kill it, with what is needed and what else would do', () => {
    const nano = 25 * MEBIBYTE
    assert.throws(() => checkMemory(nano, 'native', container(256)), {
      code: 'memory-too-small',
      message:
        /^this container may use 256 MiB of memory, and this run needs at least 285 MiB .*; allow more, or take --engine wasm$/,
    })
    assert.throws(() => checkMemory(nano, 'wasm', container(128)), { message: /needs at least 190 MiB .*allow more$/ })
    // A model of a billion parameters on a machine without any limit.
    const machine = { bytes: 8_192 * MEBIBYTE, container: false }
    assert.throws(() => checkMemory(28_000 * MEBIBYTE, 'native', machine), { message: /^this machine has 8192 MiB/ })
  })

  it('is warned of where it may not last, and no word is said where it does', () => {
    const nano = 25 * MEBIBYTE
    assert.match(
      checkMemory(nano, 'native', container(400)) ?? '',
      /may use 400 MiB.*takes 530 MiB or more.*exit code 137/,
    )
    assert.equal(checkMemory(nano, 'native', container(1_024)), undefined)
    assert.equal(checkMemory(nano, 'wasm', container(400)), undefined)
  })

  it('counts the vectors by their elements', () => {
    const spec = { theta: { type: 'float32', length: 10 }, sent: { type: 'int8', length: 3 } } as const
    assert.equal(bytesOf(spec), 43)
  })
})
