// Half precision, over raw addresses. kernels/codecs/twins.ts holds the same arithmetic in plain TypeScript.

// Values between two looks at what cannot be coded.
const BLOCK: i32 = 256

// Four values as half precision in the low 16 bits of each lane, rounded to nearest, ties to even; of finite values below 65520.
// @ts-ignore: decorator
@inline
function toHalf(value: v128): v128 {
  const sign = v128.and(value, i32x4.splat(<i32>0x80000000))
  const magnitude = v128.xor(value, sign)
  // Below 2^-14: adding 1/2 puts the units of a subnormal half, 2^-24, at the end of the mantissa.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000))
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1))
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, odd), i32x4.splat(<i32>0xc8000fff)), 13)
  const tiny = i32x4.lt_s(magnitude, i32x4.splat(0x38800000))
  return v128.or(v128.bitselect(subnormal, normal, tiny), i32x4.shr_u(sign, 16))
}

export function encodeFloat16(x: usize, halves: usize, length: i32): i32 {
  // 65520 and above would become infinite.
  const limit = i32x4.splat(0x477fefff)
  const absolute = i32x4.splat(0x7fffffff)
  for (let block: i32 = 0, start: i32 = 0; start < length; block++, start += BLOCK) {
    const end = min<i32>(start + BLOCK, length)
    let bad = i32x4.splat(0)
    let i = start
    for (; i + 8 <= end; i += 8) {
      const at = x + (<usize>i << 2)
      const a = v128.load(at)
      const b = v128.load(at, 16)
      bad = v128.or(bad, i32x4.gt_s(v128.and(a, absolute), limit))
      bad = v128.or(bad, i32x4.gt_s(v128.and(b, absolute), limit))
      v128.store(halves + (<usize>i << 1), i16x8.narrow_i32x4_u(toHalf(a), toHalf(b)))
    }
    for (; i < end; i++) {
      const value = i32x4.splat(load<i32>(x + (<usize>i << 2)))
      bad = v128.or(bad, i32x4.gt_s(v128.and(value, absolute), limit))
      store<u16>(halves + (<usize>i << 1), <u16>i32x4.extract_lane(toHalf(value), 0))
    }
    if (v128.any_true(bad)) return block
  }
  return -1
}

export function allFiniteFloat16(halves: usize, length: i32): i32 {
  const exponent = i16x8.splat(0x7c00)
  let bad = i16x8.splat(0)
  let i: i32 = 0
  for (; i + 8 <= length; i += 8) {
    bad = v128.or(bad, i16x8.eq(v128.and(v128.load(halves + (<usize>i << 1)), exponent), exponent))
  }
  if (v128.any_true(bad)) return 0
  for (; i < length; i++) {
    if ((load<u16>(halves + (<usize>i << 1)) & 0x7c00) == 0x7c00) return 0
  }
  return 1
}

// Four finite halves, one in each 32-bit lane.
// @ts-ignore: decorator
@inline
function fromHalf(half: v128): v128 {
  const sign = i32x4.shl(v128.and(half, i32x4.splat(0x8000)), 16)
  const magnitude = i32x4.shl(v128.and(half, i32x4.splat(0x7fff)), 13)
  const normal = i32x4.add(magnitude, i32x4.splat(0x38000000))
  // The bits of a subnormal behind those of 2^-14, less 2^-14.
  const subnormal = f32x4.sub(i32x4.add(magnitude, i32x4.splat(0x38800000)), f32x4.splat(6.103515625e-5))
  return v128.or(v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat(0x00800000))), sign)
}

export function decodeFloat16(halves: usize, out: usize, length: i32): void {
  let i: i32 = 0
  for (; i + 8 <= length; i += 8) {
    const value = v128.load(halves + (<usize>i << 1))
    const at = out + (<usize>i << 2)
    v128.store(at, fromHalf(i32x4.extend_low_i16x8_u(value)))
    v128.store(at, fromHalf(i32x4.extend_high_i16x8_u(value)), 16)
  }
  for (; i < length; i++) {
    const value = fromHalf(i32x4.splat(<i32>load<u16>(halves + (<usize>i << 1))))
    store<f32>(out + (<usize>i << 2), f32x4.extract_lane(value, 0))
  }
}
