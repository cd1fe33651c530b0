// ChaCha with 8 rounds (Bernstein 2008), four consecutive blocks at once, one in each lane.

// @ts-ignore: decorator
@inline
function rotate16(x: v128): v128 {
  return i8x16.shuffle(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
}

// @ts-ignore: decorator
@inline
function rotate12(x: v128): v128 {
  return v128.or(i32x4.shl(x, 12), i32x4.shr_u(x, 20))
}

// @ts-ignore: decorator
@inline
function rotate8(x: v128): v128 {
  return i8x16.shuffle(x, x, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)
}

// @ts-ignore: decorator
@inline
function rotate7(x: v128): v128 {
  return v128.or(i32x4.shl(x, 7), i32x4.shr_u(x, 25))
}

// Writes word i of blocks `counter` to `counter` + 3 into the four lanes at out + 16 i: 256 bytes. The key has 8 words, the nonce is zero; `counter`
// is a multiple of 4 and its high word is zero, for a vector has fewer than 2^31 elements.
export function chacha8(key: usize, counter: i32, out: usize): void {
  const count = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3))
  let a0 = i32x4.splat(0x61707865)
  let a1 = i32x4.splat(0x3320646e)
  let a2 = i32x4.splat(0x79622d32)
  let a3 = i32x4.splat(0x6b206574)
  let b0 = v128.load32_splat(key, 0)
  let b1 = v128.load32_splat(key, 4)
  let b2 = v128.load32_splat(key, 8)
  let b3 = v128.load32_splat(key, 12)
  let c0 = v128.load32_splat(key, 16)
  let c1 = v128.load32_splat(key, 20)
  let c2 = v128.load32_splat(key, 24)
  let c3 = v128.load32_splat(key, 28)
  let d0 = count
  let d1 = i32x4.splat(0)
  let d2 = i32x4.splat(0)
  let d3 = i32x4.splat(0)
  for (let round: i32 = 0; round < 4; round++) {
    // Columns.
    a0 = i32x4.add(a0, b0); a1 = i32x4.add(a1, b1); a2 = i32x4.add(a2, b2); a3 = i32x4.add(a3, b3)
    d0 = rotate16(v128.xor(d0, a0)); d1 = rotate16(v128.xor(d1, a1)); d2 = rotate16(v128.xor(d2, a2)); d3 = rotate16(v128.xor(d3, a3))
    c0 = i32x4.add(c0, d0); c1 = i32x4.add(c1, d1); c2 = i32x4.add(c2, d2); c3 = i32x4.add(c3, d3)
    b0 = rotate12(v128.xor(b0, c0)); b1 = rotate12(v128.xor(b1, c1)); b2 = rotate12(v128.xor(b2, c2)); b3 = rotate12(v128.xor(b3, c3))
    a0 = i32x4.add(a0, b0); a1 = i32x4.add(a1, b1); a2 = i32x4.add(a2, b2); a3 = i32x4.add(a3, b3)
    d0 = rotate8(v128.xor(d0, a0)); d1 = rotate8(v128.xor(d1, a1)); d2 = rotate8(v128.xor(d2, a2)); d3 = rotate8(v128.xor(d3, a3))
    c0 = i32x4.add(c0, d0); c1 = i32x4.add(c1, d1); c2 = i32x4.add(c2, d2); c3 = i32x4.add(c3, d3)
    b0 = rotate7(v128.xor(b0, c0)); b1 = rotate7(v128.xor(b1, c1)); b2 = rotate7(v128.xor(b2, c2)); b3 = rotate7(v128.xor(b3, c3))
    // Diagonals.
    a0 = i32x4.add(a0, b1); a1 = i32x4.add(a1, b2); a2 = i32x4.add(a2, b3); a3 = i32x4.add(a3, b0)
    d3 = rotate16(v128.xor(d3, a0)); d0 = rotate16(v128.xor(d0, a1)); d1 = rotate16(v128.xor(d1, a2)); d2 = rotate16(v128.xor(d2, a3))
    c2 = i32x4.add(c2, d3); c3 = i32x4.add(c3, d0); c0 = i32x4.add(c0, d1); c1 = i32x4.add(c1, d2)
    b1 = rotate12(v128.xor(b1, c2)); b2 = rotate12(v128.xor(b2, c3)); b3 = rotate12(v128.xor(b3, c0)); b0 = rotate12(v128.xor(b0, c1))
    a0 = i32x4.add(a0, b1); a1 = i32x4.add(a1, b2); a2 = i32x4.add(a2, b3); a3 = i32x4.add(a3, b0)
    d3 = rotate8(v128.xor(d3, a0)); d0 = rotate8(v128.xor(d0, a1)); d1 = rotate8(v128.xor(d1, a2)); d2 = rotate8(v128.xor(d2, a3))
    c2 = i32x4.add(c2, d3); c3 = i32x4.add(c3, d0); c0 = i32x4.add(c0, d1); c1 = i32x4.add(c1, d2)
    b1 = rotate7(v128.xor(b1, c2)); b2 = rotate7(v128.xor(b2, c3)); b3 = rotate7(v128.xor(b3, c0)); b0 = rotate7(v128.xor(b0, c1))
  }
  v128.store(out, i32x4.add(a0, i32x4.splat(0x61707865)), 0)
  v128.store(out, i32x4.add(a1, i32x4.splat(0x3320646e)), 16)
  v128.store(out, i32x4.add(a2, i32x4.splat(0x79622d32)), 32)
  v128.store(out, i32x4.add(a3, i32x4.splat(0x6b206574)), 48)
  v128.store(out, i32x4.add(b0, v128.load32_splat(key, 0)), 64)
  v128.store(out, i32x4.add(b1, v128.load32_splat(key, 4)), 80)
  v128.store(out, i32x4.add(b2, v128.load32_splat(key, 8)), 96)
  v128.store(out, i32x4.add(b3, v128.load32_splat(key, 12)), 112)
  v128.store(out, i32x4.add(c0, v128.load32_splat(key, 16)), 128)
  v128.store(out, i32x4.add(c1, v128.load32_splat(key, 20)), 144)
  v128.store(out, i32x4.add(c2, v128.load32_splat(key, 24)), 160)
  v128.store(out, i32x4.add(c3, v128.load32_splat(key, 28)), 176)
  v128.store(out, i32x4.add(d0, count), 192)
  v128.store(out, d1, 208)
  v128.store(out, d2, 224)
  v128.store(out, d3, 240)
}
