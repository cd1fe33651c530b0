// Codes of tensors with a scale per block, over raw addresses. kernels/codecs/twins.ts holds the same arithmetic in plain TypeScript; kernels/codecs/types.ts says what
// each code is. Encoders return the number of the first block (or chunk) that cannot be coded, or -1.

const BLOCK: i32 = 256

// Blocks whose largest magnitude is below 2^-100 are coded as zero: 127 / magnitude would overflow.
const SMALLEST_MAGNITUDE: f32 = 7.888609052210118e-31

// Blocks with a magnitude above 2^127 are refused, so that no scale times no code overflows.
const LARGEST_MAGNITUDE: f32 = 1.7014118346046923e38

// Adding 1.5 * 2^23 to a number of at most 22 bits rounds it to the nearest integer, ties to even, and leaves that integer in the low bits.
const ROUND: f32 = 12582912
const ROUND_BITS: i32 = 0x4b400000

// NaN if there is one.
// @ts-ignore: decorator
@inline
function largestMagnitude(x: usize, start: i32, end: i32): f32 {
  let i = start
  let m0 = f32x4.splat(0)
  let m1 = f32x4.splat(0)
  let m2 = f32x4.splat(0)
  let m3 = f32x4.splat(0)
  for (; i + 16 <= end; i += 16) {
    const at = x + (<usize>i << 2)
    m0 = f32x4.max(m0, f32x4.abs(v128.load(at)))
    m1 = f32x4.max(m1, f32x4.abs(v128.load(at, 16)))
    m2 = f32x4.max(m2, f32x4.abs(v128.load(at, 32)))
    m3 = f32x4.max(m3, f32x4.abs(v128.load(at, 48)))
  }
  const m = f32x4.max(f32x4.max(m0, m1), f32x4.max(m2, m3))
  let largest = max<f32>(
    max<f32>(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max<f32>(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  )
  for (; i < end; i++) largest = max<f32>(largest, abs<f32>(load<f32>(x + (<usize>i << 2))))
  return largest
}

// Integers from -127 to 127 that lie in the low bits of rounded sums, as bytes.
// @ts-ignore: decorator
@inline
function packRounded(a: v128, b: v128, c: v128, d: v128): v128 {
  const zero = i32x4.splat(ROUND_BITS)
  return i8x16.narrow_i16x8_s(
    i16x8.narrow_i32x4_s(i32x4.sub(a, zero), i32x4.sub(b, zero)),
    i16x8.narrow_i32x4_s(i32x4.sub(c, zero), i32x4.sub(d, zero)),
  )
}

// Rounded x * inv of 16 values.
// @ts-ignore: decorator
@inline
function nearest16(at: usize, inv: v128): v128 {
  const round = f32x4.splat(ROUND)
  return packRounded(
    f32x4.add(f32x4.mul(v128.load(at), inv), round),
    f32x4.add(f32x4.mul(v128.load(at, 16), inv), round),
    f32x4.add(f32x4.mul(v128.load(at, 32), inv), round),
    f32x4.add(f32x4.mul(v128.load(at, 48), inv), round),
  )
}

// Random words by their number: key0 + number * WEYL, finished as a hash; see kernels/codecs/dither.ts.
const WEYL: i32 = <i32>0x9e3779b9

// @ts-ignore: decorator
@inline
function finish4(word: v128, key1: v128): v128 {
  let h = v128.xor(word, key1)
  h = i32x4.mul(v128.xor(h, i32x4.shr_u(h, 15)), i32x4.splat(<i32>0x846ca68b))
  return v128.xor(h, i32x4.shr_u(h, 16))
}

// @ts-ignore: decorator
@inline
function finish1(word: i32, key1: i32): u32 {
  let h = <u32>(word ^ key1)
  h = (h ^ (h >> 15)) * 0x846ca68b
  return h ^ (h >> 16)
}

// Stochastic rounding in fixed point: values times 2^15, rounded to the nearest integer, plus 15 random bits, shifted down by 15. Codes are
// at most 127, so 2^22 is not reached. `inv` holds inverse * 2^15.

// The random bits of one value by its number in the tensor.
// @ts-ignore: decorator
@inline
function random1(number: i32, key0: i32, key1: i32): i32 {
  const h = finish1((((number >>> 3) << 2) + (number & 3)) * WEYL + key0, key1)
  return <i32>((number & 4) != 0 ? h >> 17 : h & 0x7fff)
}

// Codes of four values, plus DITHERED.
// @ts-ignore: decorator
@inline
function dithered4(at: usize, inv: v128, random: v128): v128 {
  return i32x4.shr_s(i32x4.add(f32x4.add(f32x4.mul(v128.load(at), inv), f32x4.splat(ROUND)), random), 15)
}

// What the bits of ROUND leave above the codes.
const DITHERED: i16 = <i16>(ROUND_BITS >> 15)

// Codes of 16 values as bytes; `number` is that of the first of them in the tensor, a multiple of 8.
// @ts-ignore: decorator
@inline
function dithered16(at: usize, inv: v128, number: i32, key0: i32, key1: v128): v128 {
  const low = i32x4.splat(0x7fff)
  const word = i32x4.add(i32x4.splat((number >>> 1) * WEYL + key0), i32x4(0, WEYL, 2 * WEYL, 3 * WEYL))
  const h = finish4(word, key1)
  const g = finish4(i32x4.add(word, i32x4.splat(4 * WEYL)), key1)
  // The sums are between 0 and 2^16, so the unsigned narrowing keeps them.
  const above = i16x8.splat(DITHERED)
  const a = i16x8.narrow_i32x4_u(dithered4(at, inv, v128.and(h, low)), dithered4(at + 16, inv, i32x4.shr_u(h, 17)))
  const b = i16x8.narrow_i32x4_u(dithered4(at + 32, inv, v128.and(g, low)), dithered4(at + 48, inv, i32x4.shr_u(g, 17)))
  return i8x16.narrow_i16x8_s(i16x8.sub(a, above), i16x8.sub(b, above))
}

// @ts-ignore: decorator
@inline
function dithered1(at: usize, inverse: f32, number: i32, key0: i32, key1: i32): i32 {
  return (<i32>nearest<f32>(load<f32>(at) * inverse) + random1(number, key0, key1)) >> 15
}

// 16 signed bytes times the scale.
// @ts-ignore: decorator
@inline
function scale16(codes: v128, s: v128, at: usize): void {
  const low = i16x8.extend_low_i8x16_s(codes)
  const high = i16x8.extend_high_i8x16_s(codes)
  v128.store(at, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), s))
  v128.store(at, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), s), 16)
  v128.store(at, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), s), 32)
  v128.store(at, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), s), 48)
}

export function encodeInt8(x: usize, codes: usize, scales: usize, length: i32): i32 {
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const largest = largestMagnitude(x, start, end)
    if (!(largest <= LARGEST_MAGNITUDE)) return block
    const small = largest < SMALLEST_MAGNITUDE
    const inverse: f32 = small ? 0 : <f32>127 / largest
    store<f32>(scales + (<usize>block << 2), small ? 0 : largest / <f32>127)
    const inv = f32x4.splat(inverse)
    let i = start
    for (; i + 16 <= end; i += 16) v128.store(codes + <usize>i, nearest16(x + (<usize>i << 2), inv))
    for (; i < end; i++) store<i8>(codes + <usize>i, <i8>nearest<f32>(load<f32>(x + (<usize>i << 2)) * inverse))
  }
  return -1
}

export function encodeInt8Stochastic(
  x: usize, codes: usize, scales: usize, length: i32, key0: i32, key1: i32, first: i32,
): i32 {
  const k1 = i32x4.splat(key1)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const largest = largestMagnitude(x, start, end)
    if (!(largest <= LARGEST_MAGNITUDE)) return block
    const small = largest < SMALLEST_MAGNITUDE
    const inverse: f32 = small ? 0 : (<f32>127 / largest) * <f32>32768
    store<f32>(scales + (<usize>block << 2), small ? 0 : largest / <f32>127)
    const inv = f32x4.splat(inverse)
    let i = start
    for (; i + 16 <= end; i += 16) v128.store(codes + <usize>i, dithered16(x + (<usize>i << 2), inv, first + i, key0, k1))
    for (; i < end; i++) store<i8>(codes + <usize>i, <i8>dithered1(x + (<usize>i << 2), inverse, first + i, key0, key1))
  }
  return -1
}

export function decodeInt8(codes: usize, scales: usize, out: usize, length: i32): void {
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const factor = load<f32>(scales + (<usize>block << 2))
    const s = f32x4.splat(factor)
    let i = start
    for (; i + 16 <= end; i += 16) scale16(v128.load(codes + <usize>i), s, out + (<usize>i << 2))
    for (; i < end; i++) store<f32>(out + (<usize>i << 2), <f32>load<i8>(codes + <usize>i) * factor)
  }
}

export function encodeInt4(
  x: usize, codes: usize, scales: usize, length: i32, key0: i32, key1: i32, first: i32,
): i32 {
  const k1 = i32x4.splat(key1)
  const nibble = i8x16.splat(15)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const largest = largestMagnitude(x, start, end)
    if (!(largest <= LARGEST_MAGNITUDE)) return block
    const small = largest < SMALLEST_MAGNITUDE
    const inverse: f32 = small ? 0 : (<f32>7 / largest) * <f32>32768
    store<f32>(scales + (<usize>block << 2), small ? 0 : largest / <f32>7)
    const inv = f32x4.splat(inverse)
    const into = codes + <usize>(start >> 1)
    const half = (end - start + 1) >> 1
    let j: i32 = 0
    if (end - start == BLOCK) {
      for (; j < half; j += 16) {
        const low = dithered16(x + (<usize>(start + j) << 2), inv, first + start + j, key0, k1)
        const high = dithered16(x + (<usize>(start + half + j) << 2), inv, first + start + half + j, key0, k1)
        // The low nibbles of the upper values, moved up: no bit crosses a byte once the high nibbles are gone.
        v128.store(into + <usize>j, v128.or(v128.and(low, nibble), i16x8.shl(v128.and(high, nibble), 4)))
      }
    }
    for (; j < half; j++) {
      const low = dithered1(x + (<usize>(start + j) << 2), inverse, first + start + j, key0, key1)
      const upper = start + half + j
      const high = upper < end ? dithered1(x + (<usize>upper << 2), inverse, first + upper, key0, key1) : 0
      store<u8>(into + <usize>j, <u8>((low & 15) | (high << 4)))
    }
  }
  return -1
}

export function decodeInt4(codes: usize, scales: usize, out: usize, length: i32): void {
  const nibble = i8x16.splat(15)
  const signed = i8x16(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const factor = load<f32>(scales + (<usize>block << 2))
    const s = f32x4.splat(factor)
    const from = codes + <usize>(start >> 1)
    const half = (end - start + 1) >> 1
    let j: i32 = 0
    if (end - start == BLOCK) {
      for (; j < half; j += 16) {
        const value = v128.load(from + <usize>j)
        scale16(i8x16.swizzle(signed, v128.and(value, nibble)), s, out + (<usize>(start + j) << 2))
        scale16(i8x16.swizzle(signed, v128.and(i16x8.shr_u(value, 4), nibble)), s, out + (<usize>(start + half + j) << 2))
      }
    }
    for (; j < half; j++) {
      const value = <i32>load<i8>(from + <usize>j)
      store<f32>(out + (<usize>(start + j) << 2), <f32>((value << 28) >> 28) * factor)
      if (start + half + j < end) store<f32>(out + (<usize>(start + half + j) << 2), <f32>(value >> 4) * factor)
    }
  }
}

export function encodeSign(x: usize, signs: usize, scales: usize, length: i32): i32 {
  // Magnitudes divided by 256, exactly, so that no sum overflows. Lane k of 16 takes the elements whose number is k modulo 16; the rest follows one by one.
  const part: f32 = 0.00390625
  const p = f32x4.splat(part)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    let s0 = f32x4.splat(0)
    let s1 = f32x4.splat(0)
    let s2 = f32x4.splat(0)
    let s3 = f32x4.splat(0)
    let i = start
    for (; i + 16 <= end; i += 16) {
      const at = x + (<usize>i << 2)
      const a = v128.load(at)
      const b = v128.load(at, 16)
      const c = v128.load(at, 32)
      const d = v128.load(at, 48)
      s0 = f32x4.add(s0, f32x4.mul(f32x4.abs(a), p))
      s1 = f32x4.add(s1, f32x4.mul(f32x4.abs(b), p))
      s2 = f32x4.add(s2, f32x4.mul(f32x4.abs(c), p))
      s3 = f32x4.add(s3, f32x4.mul(f32x4.abs(d), p))
      // Narrowing saturates, so it keeps the sign.
      const narrow = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d))
      store<u16>(signs + <usize>(i >> 3), <u16>i8x16.bitmask(narrow))
    }
    const s = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3))
    let sum: f32 = f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3))
    for (; i < end; i += 8) {
      let bits: u32 = 0
      for (let k: i32 = i; k < min<i32>(i + 8, end); k++) {
        const at = x + (<usize>k << 2)
        sum += abs<f32>(load<f32>(at)) * part
        bits |= (load<u32>(at) >> 31) << <u32>(k & 7)
      }
      store<u8>(signs + <usize>(i >> 3), <u8>bits)
    }
    const mean: f32 = (sum / <f32>(end - start)) * <f32>256
    if (!(mean <= f32.MAX_VALUE)) return block
    store<f32>(scales + (<usize>block << 2), mean)
  }
  return -1
}

export function decodeSign(signs: usize, scales: usize, out: usize, length: i32): void {
  const low = i32x4(1, 2, 4, 8)
  const high = i32x4(16, 32, 64, 128)
  const negative = i32x4.splat(<i32>0x80000000)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    const factor = load<f32>(scales + (<usize>block << 2))
    const s = f32x4.splat(factor)
    let i = start
    for (; i + 8 <= end; i += 8) {
      const bits = i32x4.splat(<i32>load<u8>(signs + <usize>(i >> 3)))
      const at = out + (<usize>i << 2)
      v128.store(at, v128.xor(s, v128.and(i32x4.eq(v128.and(bits, low), low), negative)))
      v128.store(at, v128.xor(s, v128.and(i32x4.eq(v128.and(bits, high), high), negative)), 16)
    }
    for (; i < end; i++) {
      const bit = (load<u8>(signs + <usize>(i >> 3)) >> <u8>(i & 7)) & 1
      store<f32>(out + (<usize>i << 2), bit != 0 ? -factor : factor)
    }
  }
}
