/** "expand 32-byte k" */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const

/** The eight little-endian words of a key of 32 bytes. */
export function keyWords(key: Uint8Array): Uint32Array {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
  return Uint32Array.from({ length: 8 }, (_, i) => view.getUint32(4 * i, true))
}

/** Block number `counter` of the key stream of ChaCha with 8 rounds and zero nonce, 16 words into `out`. */
export function chacha8Block(key: Uint32Array, counter: number, out: Uint32Array): void {
  const input = [...CONSTANTS, ...key, counter >>> 0, Math.floor(counter / 2 ** 32), 0, 0]
  out.set(input)
  for (let round = 0; round < 8; round += 2) {
    for (let i = 0; i < 4; i++) quarterRound(out, i, 4 + i, 8 + i, 12 + i)
    for (let i = 0; i < 4; i++) quarterRound(out, i, 4 + ((i + 1) & 3), 8 + ((i + 2) & 3), 12 + ((i + 3) & 3))
  }
  for (let i = 0; i < 16; i++) out[i] = out[i]! + input[i]!
}

function quarterRound(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  addAndRotate(x, a, b, d, 16)
  addAndRotate(x, c, d, b, 12)
  addAndRotate(x, a, b, d, 8)
  addAndRotate(x, c, d, b, 7)
}

/** x[a] += x[b]; x[d] = (x[d] ^ x[a]) rotated left by `bits`. */
function addAndRotate(x: Uint32Array, a: number, b: number, d: number, bits: number): void {
  x[a] = x[a]! + x[b]!
  const mixed = x[d]! ^ x[a]!
  x[d] = (mixed << bits) | (mixed >>> (32 - bits))
}
