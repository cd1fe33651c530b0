// Random directions over raw addresses; kernels/directions/types.ts defines them and kernels/directions/twins.ts is the twin. `scratch` is memory of
// this thread alone. Lengths and `first` are in elements; `first` is a multiple of GROUP.
import { chacha8 } from './chacha'
import { addTable, makeTable } from './sign-table'

// Elements whose signs come from four blocks.
const GROUP: i32 = 2048

// Elements whose binomials come from four blocks.
const WORDS: i32 = 64

// Bytes of four blocks.
const BITS: usize = 256

// Contributions added in one pass over a group.
const TOGETHER: i32 = 4

// Where the tables of sums lie in the scratch, after the bits of TOGETHER contributions.
const TABLE: usize = 1024

const SIGN_BIT: i32 = 0x80000000

// The sign's bit of element p of a group: 0 or 1.
// @ts-ignore: decorator
@inline
function bitOf(bits: usize, p: i32): i32 {
  return (load<i32>(bits + (((p >> 7) << 4) + ((p & 3) << 2))) >> ((p >> 2) & 31)) & 1
}

// Binomials of 32 coins less their mean, for four elements whose words lie at `bits`.
// @ts-ignore: decorator
@inline
function binomials(bits: usize): v128 {
  const counts = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(i8x16.popcnt(v128.load(bits))))
  return i32x4.sub(counts, i32x4.splat(16))
}

// The same for element p of the 64.
// @ts-ignore: decorator
@inline
function binomialOf(bits: usize, p: i32): i32 {
  return popcnt<i32>(load<i32>(bits + (<usize>p << 2))) - 16
}

// sums += Σ coefficient * sign. A group of sums stays in the first-level cache while all contributions are added to it, four at a time.
export function addSigns(sums: usize, keys: usize, coefficients: usize, count: i32, length: i32, first: i32, scratch: usize): void {
  const table = scratch + TABLE
  for (let start: i32 = 0; start < length; start += GROUP) {
    const n = min<i32>(GROUP, length - start)
    const group = sums + (<usize>start << 2)
    const counter = (first + start) >> 9
    for (let c: i32 = 0; c < count; c += TOGETHER) {
      const m = min<i32>(TOGETHER, count - c)
      for (let k: i32 = 0; k < m; k++) chacha8(keys + (<usize>(c + k) << 5), counter, scratch + <usize>k * BITS)
      const values = coefficients + (<usize>c << 2)
      makeTable(table, values, m)
      const words = n >> 7
      addTable(group, words, scratch, table)
      for (let p = words << 7; p < n; p++) {
        let sum = load<i32>(group + (<usize>p << 2))
        for (let k: i32 = 0; k < m; k++) {
          const value = load<i32>(values + (<usize>k << 2))
          sum += bitOf(scratch + <usize>k * BITS, p) ? value : -value
        }
        store<i32>(group + (<usize>p << 2), sum)
      }
    }
  }
}

// sums += Σ coefficient * binomial.
export function addGaussians(sums: usize, keys: usize, coefficients: usize, count: i32, length: i32, first: i32, scratch: usize): void {
  for (let start: i32 = 0; start < length; start += WORDS) {
    const n = min<i32>(WORDS, length - start)
    const group = sums + (<usize>start << 2)
    const counter = (first + start) >> 4
    for (let c: i32 = 0; c < count; c++) {
      chacha8(keys + (<usize>c << 5), counter, scratch)
      const value = load<i32>(coefficients + (<usize>c << 2))
      const factor = i32x4.splat(value)
      let p: i32 = 0
      for (; p + 4 <= n; p += 4) {
        const at = <usize>p << 2
        v128.store(group + at, i32x4.add(v128.load(group + at), i32x4.mul(binomials(scratch + at), factor)))
      }
      for (; p < n; p++) {
        const at = <usize>p << 2
        store<i32>(group + at, load<i32>(group + at) + binomialOf(scratch, p) * value)
      }
    }
  }
}

// out <- base ± epsilon.
export function perturbSigns(out: usize, base: usize, key: usize, epsilon: f32, length: i32, first: i32, scratch: usize): void {
  const minus = f32x4.splat(-epsilon)
  for (let start: i32 = 0; start < length; start += GROUP) {
    const n = min<i32>(GROUP, length - start)
    const to = out + (<usize>start << 2)
    const from = base + (<usize>start << 2)
    chacha8(key, (first + start) >> 9, scratch)
    let p: i32 = 0
    for (; p + 128 <= n; p += 128) {
      // Bit j of each lane, shifted to the place of the sign, turns -epsilon into +epsilon.
      let bits = v128.load(scratch + (<usize>(p >> 7) << 4))
      const end = <usize>(p + 128) << 2
      for (let at = <usize>p << 2; at < end; at += 16) {
        v128.store(to + at, f32x4.add(v128.load(from + at), v128.xor(minus, i32x4.shl(bits, 31))))
        bits = i32x4.shr_u(bits, 1)
      }
    }
    for (; p < n; p++) {
      const at = <usize>p << 2
      store<f32>(to + at, load<f32>(from + at) + (bitOf(scratch, p) ? epsilon : -epsilon))
    }
  }
}

// out <- base + scale * binomial.
export function perturbGaussians(out: usize, base: usize, key: usize, scale: f32, length: i32, first: i32, scratch: usize): void {
  const factor = f32x4.splat(scale)
  for (let start: i32 = 0; start < length; start += WORDS) {
    const n = min<i32>(WORDS, length - start)
    const to = out + (<usize>start << 2)
    const from = base + (<usize>start << 2)
    chacha8(key, (first + start) >> 4, scratch)
    let p: i32 = 0
    for (; p + 4 <= n; p += 4) {
      const at = <usize>p << 2
      const step = f32x4.mul(factor, f32x4.convert_i32x4_s(binomials(scratch + at)))
      v128.store(to + at, f32x4.add(v128.load(from + at), step))
    }
    for (; p < n; p++) {
      const at = <usize>p << 2
      store<f32>(to + at, load<f32>(from + at) + scale * <f32>binomialOf(scratch, p))
    }
  }
}

// Σ x * sign in the order of sumSquares: lane k takes the elements numbered k modulo 4, joined as (0+2)+(1+3), then the tail.
export function dotSigns(x: usize, key: usize, length: i32, first: i32, scratch: usize): f64 {
  const flip = i32x4.splat(SIGN_BIT)
  let low = f64x2.splat(0)
  let high = f64x2.splat(0)
  const vectorized = length & ~3
  for (let start: i32 = 0; start < length; start += GROUP) {
    chacha8(key, (first + start) >> 9, scratch)
    const end = min<i32>(start + GROUP, vectorized)
    let bits = v128.load(scratch)
    for (let i = start; i < end; i += 4) {
      if ((i & 127) == 0) bits = v128.load(scratch + (<usize>((i - start) >> 7) << 4))
      const value = v128.xor(v128.load(x + (<usize>i << 2)), v128.andnot(flip, i32x4.shl(bits, 31)))
      bits = i32x4.shr_u(bits, 1)
      low = f64x2.add(low, f64x2.promote_low_f32x4(value))
      high = f64x2.add(high, f64x2.promote_low_f32x4(upper(value)))
    }
  }
  let sum = join(low, high)
  for (let i = vectorized; i < length; i++) {
    const value = <f64>load<f32>(x + (<usize>i << 2))
    sum += bitOf(scratch, i & (GROUP - 1)) ? value : -value
  }
  return sum
}

// Σ x * binomial, in the same order.
export function dotGaussians(x: usize, key: usize, length: i32, first: i32, scratch: usize): f64 {
  let low = f64x2.splat(0)
  let high = f64x2.splat(0)
  const vectorized = length & ~3
  for (let start: i32 = 0; start < length; start += WORDS) {
    chacha8(key, (first + start) >> 4, scratch)
    const end = min<i32>(start + WORDS, vectorized)
    for (let i = start; i < end; i += 4) {
      const value = v128.load(x + (<usize>i << 2))
      const z = binomials(scratch + (<usize>(i - start) << 2))
      low = f64x2.add(low, f64x2.mul(f64x2.promote_low_f32x4(value), f64x2.convert_low_i32x4_s(z)))
      high = f64x2.add(high, f64x2.mul(f64x2.promote_low_f32x4(upper(value)), f64x2.convert_low_i32x4_s(upper(z))))
    }
  }
  let sum = join(low, high)
  for (let i = vectorized; i < length; i++) {
    sum += <f64>load<f32>(x + (<usize>i << 2)) * <f64>binomialOf(scratch, i & (WORDS - 1))
  }
  return sum
}

// @ts-ignore: decorator
@inline
function upper(x: v128): v128 {
  return i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)
}

// @ts-ignore: decorator
@inline
function join(low: v128, high: v128): f64 {
  return f64x2.extract_lane(low, 0) + f64x2.extract_lane(high, 0) + (f64x2.extract_lane(low, 1) + f64x2.extract_lane(high, 1))
}

// out <- base - unit * sums: one multiplication and one subtraction in double precision, then rounded once.
export function fromSums(out: usize, base: usize, sums: usize, unit: f64, length: i32): void {
  const u = f64x2.splat(unit)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    const b = v128.load(base + at)
    const a = v128.load(sums + at)
    const low = f64x2.sub(f64x2.promote_low_f32x4(b), f64x2.mul(u, f64x2.convert_low_i32x4_s(a)))
    const high = f64x2.sub(f64x2.promote_low_f32x4(upper(b)), f64x2.mul(u, f64x2.convert_low_i32x4_s(upper(a))))
    const l = f32x4.demote_f64x2_zero(low)
    const h = f32x4.demote_f64x2_zero(high)
    v128.store(out + at, i8x16.shuffle(l, h, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23))
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    store<f32>(out + at, <f32>(<f64>load<f32>(base + at) - unit * <f64>load<i32>(sums + at)))
  }
}

// Largest magnitude, as an unsigned number: that of -2^31 is 2^31.
export function maxAbs(sums: usize, length: i32): u32 {
  let m0 = i32x4.splat(0)
  let m1 = i32x4.splat(0)
  let i: i32 = 0
  for (; i + 8 <= length; i += 8) {
    const at = sums + (<usize>i << 2)
    m0 = i32x4.max_u(m0, i32x4.abs(v128.load(at)))
    m1 = i32x4.max_u(m1, i32x4.abs(v128.load(at, 16)))
  }
  const m = i32x4.max_u(m0, m1)
  let largest = max<u32>(
    max<u32>(i32x4.extract_lane(m, 0), i32x4.extract_lane(m, 1)),
    max<u32>(i32x4.extract_lane(m, 2), i32x4.extract_lane(m, 3)),
  )
  for (; i < length; i++) {
    const value = load<i32>(sums + (<usize>i << 2))
    largest = max<u32>(largest, value < 0 ? -value : value)
  }
  return largest
}
