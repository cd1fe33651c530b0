// Adding the signs of four contributions at once: their four bits of one element select one of 16 sums. The sums are looked up with a byte shuffle,
// one for each of the four bytes of a sum, 16 elements at a time. Drawing the bits included, this is twice as fast as masking and adding.

const LOW_NIBBLES: i32 = 0x0f0f0f0f
const ODD_BITS: i32 = 0xaaaaaaaa
const ODD_PAIRS: i32 = 0xcccccccc

// The 16 sums ±v0 ±v1 ±v2 ±v3 of the `count` <= 4 coefficients at `values`, missing ones counting 0; bit k of a sum's number says +vk. Byte i of the sums
// lies at table + 16 i.
export function makeTable(table: usize, values: usize, count: i32): void {
  for (let number: i32 = 0; number < 16; number++) {
    let sum: i32 = 0
    for (let k: i32 = 0; k < count; k++) {
      const value = load<i32>(values + (<usize>k << 2))
      sum += (number >> k) & 1 ? value : -value
    }
    store<u8>(table + number, <u8>sum)
    store<u8>(table + number, <u8>(sum >> 8), 16)
    store<u8>(table + number, <u8>(sum >> 16), 32)
    store<u8>(table + number, <u8>(sum >> 24), 48)
  }
}

// The signs of 128 elements, a word of each lane, with byte k of lane l moved to byte 4 k + l. Bit t of that byte is the sign of element
// 32 k + 4 t + l, so that four consecutive bytes of a look-up belong to consecutive elements.
// @ts-ignore: decorator
@inline
function loadBits(at: usize): v128 {
  const x = v128.load(at)
  return i8x16.shuffle(x, x, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
}

// @ts-ignore: decorator
@inline
function addFour(at: usize, sums: v128): void {
  v128.store(at, i32x4.add(v128.load(at), sums))
}

// Adds to elements 32 k + 4 t + l (l = 0..3) of each k the sum that byte 4 k + l of `numbers` selects; `at` is that of element 4 t.
// @ts-ignore: decorator
@inline
function addSelected(at: usize, numbers: v128, t0: v128, t1: v128, t2: v128, t3: v128): void {
  const p0 = i8x16.swizzle(t0, numbers)
  const p1 = i8x16.swizzle(t1, numbers)
  const p2 = i8x16.swizzle(t2, numbers)
  const p3 = i8x16.swizzle(t3, numbers)
  const low01 = i8x16.shuffle(p0, p1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const high01 = i8x16.shuffle(p0, p1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  const low23 = i8x16.shuffle(p2, p3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  const high23 = i8x16.shuffle(p2, p3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
  addFour(at, i8x16.shuffle(low01, low23, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23))
  addFour(at + 128, i8x16.shuffle(low01, low23, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31))
  addFour(at + 256, i8x16.shuffle(high01, high23, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23))
  addFour(at + 384, i8x16.shuffle(high01, high23, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31))
}

// Adds to `words` times 128 elements at `sums` the signs of four contributions, whose bits lie 256 bytes apart at `bits`.
export function addTable(sums: usize, words: i32, bits: usize, table: usize): void {
  const t0 = v128.load(table)
  const t1 = v128.load(table, 16)
  const t2 = v128.load(table, 32)
  const t3 = v128.load(table, 48)
  const nibbles = i32x4.splat(LOW_NIBBLES)
  const odd = i32x4.splat(ODD_BITS)
  const pairs = i32x4.splat(ODD_PAIRS)
  for (let word: i32 = 0; word < words; word++) {
    const x0 = loadBits(bits)
    const x1 = loadBits(bits + 256)
    const x2 = loadBits(bits + 512)
    const x3 = loadBits(bits + 768)
    // Transposes bits 0..3 and 4..7 of each byte: nibbles of (x0, x1, x2, x3) for t = 0 and 4, 1 and 5, 2 and 6, 3 and 7.
    const even01 = v128.bitselect(i32x4.shl(x1, 1), x0, odd)
    const odd01 = v128.bitselect(x1, i32x4.shr_u(x0, 1), odd)
    const even23 = v128.bitselect(i32x4.shl(x3, 1), x2, odd)
    const odd23 = v128.bitselect(x3, i32x4.shr_u(x2, 1), odd)
    const n0 = v128.bitselect(i32x4.shl(even23, 2), even01, pairs)
    const n1 = v128.bitselect(i32x4.shl(odd23, 2), odd01, pairs)
    const n2 = v128.bitselect(even23, i32x4.shr_u(even01, 2), pairs)
    const n3 = v128.bitselect(odd23, i32x4.shr_u(odd01, 2), pairs)
    addSelected(sums, v128.and(n0, nibbles), t0, t1, t2, t3)
    addSelected(sums + 16, v128.and(n1, nibbles), t0, t1, t2, t3)
    addSelected(sums + 32, v128.and(n2, nibbles), t0, t1, t2, t3)
    addSelected(sums + 48, v128.and(n3, nibbles), t0, t1, t2, t3)
    addSelected(sums + 64, v128.and(i32x4.shr_u(n0, 4), nibbles), t0, t1, t2, t3)
    addSelected(sums + 80, v128.and(i32x4.shr_u(n1, 4), nibbles), t0, t1, t2, t3)
    addSelected(sums + 96, v128.and(i32x4.shr_u(n2, 4), nibbles), t0, t1, t2, t3)
    addSelected(sums + 112, v128.and(i32x4.shr_u(n3, 4), nibbles), t0, t1, t2, t3)
    sums += 512
    bits += 16
  }
}
