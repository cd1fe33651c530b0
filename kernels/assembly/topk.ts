// The top-k code, over raw addresses; see kernels/codecs/types.ts for its layout and kernels/codecs/topk.ts for its twin. No scratch memory is
// used, because several threads share this memory: the k-th largest magnitude is found by counting, over a chunk that stays in the cache.
// Magnitudes are compared as integers, for the bits of positive floats are ordered like the floats.

const CHUNK: i32 = 4096
const ABSOLUTE: i32 = 0x7fffffff
const INFINITY_BITS: i32 = 0x7f800000

// Bytes of the table of a chunk.
const TABLE: usize = 16

// Searches that interpolate, before only halving is used.
const INTERPOLATIONS: i32 = 12

// What a pass over a chunk found. WebAssembly globals belong to one thread, unlike memory.
let most: i32 = 0
let count: i32 = 0
// Of the magnitudes with exactly the threshold's bits, how many are kept.
let ties: i32 = 0

// Values kept of a chunk of n.
// @ts-ignore: decorator
@inline
function keptOf(n: i32, kept: i32): i32 {
  return (n * kept + CHUNK - 1) >> 12
}

// @ts-ignore: decorator
@inline
function magnitude(at: usize): i32 {
  return load<i32>(at) & ABSOLUTE
}

// Sets `most` to the bits of the largest magnitude and `count` to the number of those that are at least `bits`.
function survey(x: usize, n: i32, bits: i32): void {
  const absolute = i32x4.splat(ABSOLUTE)
  const below = i32x4.splat(bits - 1)
  let m0 = i32x4.splat(0)
  let m1 = i32x4.splat(0)
  let c0 = i32x4.splat(0)
  let c1 = i32x4.splat(0)
  let i: i32 = 0
  for (; i + 8 <= n; i += 8) {
    const at = x + (<usize>i << 2)
    const a = v128.and(v128.load(at), absolute)
    const b = v128.and(v128.load(at, 16), absolute)
    m0 = i32x4.max_s(m0, a)
    m1 = i32x4.max_s(m1, b)
    c0 = i32x4.sub(c0, i32x4.gt_s(a, below))
    c1 = i32x4.sub(c1, i32x4.gt_s(b, below))
  }
  const m = i32x4.max_s(m0, m1)
  const c = i32x4.add(c0, c1)
  most = max(max(i32x4.extract_lane(m, 0), i32x4.extract_lane(m, 1)), max(i32x4.extract_lane(m, 2), i32x4.extract_lane(m, 3)))
  count = i32x4.extract_lane(c, 0) + i32x4.extract_lane(c, 1) + i32x4.extract_lane(c, 2) + i32x4.extract_lane(c, 3)
  for (; i < n; i++) {
    const value = magnitude(x + (<usize>i << 2))
    most = max(most, value)
    count += i32(value >= bits)
  }
}

// Number of magnitudes whose bits are at least `bits`.
function countFrom(x: usize, n: i32, bits: i32): i32 {
  const absolute = i32x4.splat(ABSOLUTE)
  const below = i32x4.splat(bits - 1)
  let c0 = i32x4.splat(0)
  let c1 = i32x4.splat(0)
  let i: i32 = 0
  for (; i + 16 <= n; i += 16) {
    const at = x + (<usize>i << 2)
    c0 = i32x4.sub(c0, i32x4.gt_s(v128.and(v128.load(at), absolute), below))
    c1 = i32x4.sub(c1, i32x4.gt_s(v128.and(v128.load(at, 16), absolute), below))
    c0 = i32x4.sub(c0, i32x4.gt_s(v128.and(v128.load(at, 32), absolute), below))
    c1 = i32x4.sub(c1, i32x4.gt_s(v128.and(v128.load(at, 48), absolute), below))
  }
  const c = i32x4.add(c0, c1)
  let found = i32x4.extract_lane(c, 0) + i32x4.extract_lane(c, 1) + i32x4.extract_lane(c, 2) + i32x4.extract_lane(c, 3)
  for (; i < n; i++) found += i32(magnitude(x + (<usize>i << 2)) >= bits)
  return found
}

// About log2 of a positive number, good enough to interpolate with.
// @ts-ignore: decorator
@inline
function roughLog(value: f32): f32 {
  return <f32>reinterpret<i32>(value)
}

// The threshold, as bits, with exactly k magnitudes at or above it, or where equal magnitudes forbid that, the k-th largest of them. After a survey
// with `guess`, the threshold of the chunk before. Sets `ties`. How it is looked for does not change which values are kept: between a bound that
// is too low and one that is too high, where the logarithm of the count, taken as linear in the value, says (exact for Laplace tails, close
// for normal ones).
function threshold(x: usize, n: i32, k: i32, guess: i32): i32 {
  ties = n
  if (count == k) return guess
  const target = roughLog(<f32>k)
  const all = roughLog(<f32>n) - target
  const none = roughLog(0.5) - target
  const level = roughLog(max<f32>(<f32>count, 0.5)) - target
  const over = count > k
  let low = over ? guess : 0
  let high = over ? most + 1 : min(guess, most + 1)
  let above = over ? level : all
  let below = over || guess > most ? none : level
  let atHigh = over || guess > most ? 0 : count
  let side: i32 = 0
  for (let turn: i32 = 0; high - low > 1; turn++) {
    let middle = low + ((high - low) >> 1)
    if (turn < INTERPOLATIONS) {
      const from = reinterpret<f32>(low)
      const to = reinterpret<f32>(min(high, most))
      const bits = reinterpret<i32>(from + (to - from) * (above / (above - below)))
      middle = min(max(bits, low + 1), high - 1)
    }
    count = countFrom(x, n, middle)
    if (count == k) return middle
    const height = roughLog(max<f32>(<f32>count, 0.5)) - target
    if (count > k) {
      low = middle
      above = height
      // A bound that stays twice is pulled in by halving its height (the Illinois rule).
      if (side == 1) below *= 0.5
      side = 1
    } else {
      high = middle
      atHigh = count
      below = height
      if (side == -1) above *= 0.5
      side = -1
    }
  }
  ties = k - atHigh
  return low
}

// Position number `index`: 12 bits each, two in three bytes, low bits first.
// @ts-ignore: decorator
@inline
function putPosition(positions: usize, index: i32, position: i32): void {
  const at = positions + <usize>((index >> 1) * 3)
  if ((index & 1) == 0) {
    store<u16>(at, <u16>position)
  } else {
    store<u8>(at, <u8>(load<u8>(at, 1) | (position << 4)), 1)
    store<u8>(at, <u8>(position >> 4), 2)
  }
}

// @ts-ignore: decorator
@inline
function getPosition(positions: usize, index: i32): i32 {
  const at = positions + <usize>((index >> 1) * 3)
  if ((index & 1) == 0) return load<u8>(at) | ((<i32>load<u8>(at, 1) & 15) << 8)
  return (load<u8>(at, 1) >> 4) | (<i32>load<u8>(at, 2) << 4)
}

// Writes the positions of the k values at or above the threshold, rising.
function choose(x: usize, n: i32, k: i32, bits: i32, positions: usize): void {
  const absolute = i32x4.splat(ABSOLUTE)
  const below = i32x4.splat(bits - 1)
  let index: i32 = 0
  let i: i32 = 0
  for (; i + 8 <= n && index < k; i += 8) {
    const at = x + (<usize>i << 2)
    const a = i32x4.gt_s(v128.and(v128.load(at), absolute), below)
    const b = i32x4.gt_s(v128.and(v128.load(at, 16), absolute), below)
    if (!v128.any_true(v128.or(a, b))) continue
    let mask = i32x4.bitmask(a) | (i32x4.bitmask(b) << 4)
    while (mask != 0) {
      const position = i + ctz(mask)
      mask &= mask - 1
      if (magnitude(x + (<usize>position << 2)) == bits && ties-- <= 0) continue
      putPosition(positions, index++, position)
    }
  }
  for (; i < n && index < k; i++) {
    const value = magnitude(x + (<usize>i << 2))
    if (value < bits || (value == bits && ties-- <= 0)) continue
    putPosition(positions, index++, i)
  }
}

// Codes of the chosen values: four bins over six standard deviations about their mean, each decoded as the mean of its members.
function quantize(x: usize, k: i32, table: usize, positions: usize, codes: usize): void {
  let sum: f64 = 0
  for (let j: i32 = 0; j < k; j++) sum += <f64>load<f32>(x + (<usize>getPosition(positions, j) << 2))
  const centre = sum / <f64>k
  let squares: f64 = 0
  for (let j: i32 = 0; j < k; j++) {
    const off = <f64>load<f32>(x + (<usize>getPosition(positions, j) << 2)) - centre
    squares += off * off
  }
  const width = 1.5 * sqrt<f64>(squares / <f64>k)
  const lower = centre - width
  const upper = centre + width
  let s0: f64 = 0
  let s1: f64 = 0
  let s2: f64 = 0
  let s3: f64 = 0
  let n0: i32 = 0
  let n1: i32 = 0
  let n2: i32 = 0
  let n3: i32 = 0
  let byte: u32 = 0
  for (let j: i32 = 0; j < k; j++) {
    const value = <f64>load<f32>(x + (<usize>getPosition(positions, j) << 2))
    const code = u32(value >= lower) + u32(value >= centre) + u32(value >= upper)
    if (code == 0) {
      s0 += value
      n0++
    } else if (code == 1) {
      s1 += value
      n1++
    } else if (code == 2) {
      s2 += value
      n2++
    } else {
      s3 += value
      n3++
    }
    byte |= code << <u32>((j & 3) << 1)
    if ((j & 3) == 3 || j == k - 1) {
      store<u8>(codes + <usize>(j >> 2), <u8>byte)
      byte = 0
    }
  }
  store<f32>(table, n0 > 0 ? <f32>(s0 / <f64>n0) : <f32>0)
  store<f32>(table, n1 > 0 ? <f32>(s1 / <f64>n1) : <f32>0, 4)
  store<f32>(table, n2 > 0 ? <f32>(s2 / <f64>n2) : <f32>0, 8)
  store<f32>(table, n3 > 0 ? <f32>(s3 / <f64>n3) : <f32>0, 12)
}

// Returns the number of the first chunk with a non-finite value, or -1.
export function encodeTopK(x: usize, message: usize, length: i32, kept: i32): i32 {
  let table = message
  let guess: i32 = 0
  for (let chunk: i32 = 0, start: i32 = 0; start < length; chunk++, start += CHUNK) {
    const n = min<i32>(CHUNK, length - start)
    const k = keptOf(n, kept)
    const from = x + (<usize>start << 2)
    // Where all are kept there is nothing to look for.
    if (k == n) guess = 0
    survey(from, n, guess)
    if (most >= INFINITY_BITS) return chunk
    const positions = table + TABLE
    const codes = positions + <usize>((3 * k + 1) >> 1)
    guess = threshold(from, n, k, guess)
    choose(from, n, k, guess, positions)
    quantize(from, k, table, positions, codes)
    table = codes + <usize>((k + 3) >> 2)
  }
  return -1
}

// Returns the number of the first malformed chunk, or -1.
export function checkTopK(message: usize, length: i32, kept: i32): i32 {
  let table = message
  for (let chunk: i32 = 0, start: i32 = 0; start < length; chunk++, start += CHUNK) {
    const n = min<i32>(CHUNK, length - start)
    const k = keptOf(n, kept)
    for (let entry: usize = 0; entry < TABLE; entry += 4) if (magnitude(table + entry) >= INFINITY_BITS) return chunk
    const positions = table + TABLE
    const codes = positions + <usize>((3 * k + 1) >> 1)
    let last: i32 = -1
    for (let j: i32 = 0; j < k; j++) {
      const position = getPosition(positions, j)
      if (position <= last || position >= n) return chunk
      last = position
    }
    if ((k & 1) == 1 && load<u8>(codes - 1) >> 4 != 0) return chunk
    const next = codes + <usize>((k + 3) >> 2)
    if ((k & 3) != 0 && load<u8>(next - 1) >> <u8>((k & 3) << 1) != 0) return chunk
    table = next
  }
  return -1
}

// Of messages that checkTopK has passed.
export function decodeTopK(message: usize, out: usize, length: i32, kept: i32): void {
  memory.fill(out, 0, <usize>length << 2)
  let table = message
  for (let start: i32 = 0; start < length; start += CHUNK) {
    const n = min<i32>(CHUNK, length - start)
    const k = keptOf(n, kept)
    const into = out + (<usize>start << 2)
    const positions = table + TABLE
    const codes = positions + <usize>((3 * k + 1) >> 1)
    for (let j: i32 = 0; j < k; j++) {
      const code = (load<u8>(codes + <usize>(j >> 2)) >> <u8>((j & 3) << 1)) & 3
      store<f32>(into + (<usize>getPosition(positions, j) << 2), load<f32>(table + (<usize>code << 2)))
    }
    table = codes + <usize>((k + 3) >> 2)
  }
}
