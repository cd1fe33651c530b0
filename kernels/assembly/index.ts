// The hot loops, over raw addresses in the shared memory. Compiled by `asc`; kernels/twins.ts holds the same arithmetic in plain
// TypeScript, and the tests compare the two bit by bit. Fixed-width SIMD only: relaxed operations may round differently
// from machine to machine. Lengths are in elements. Vectors start on 64-byte boundaries; a view into one may not, and SIMD loads allow it.

export * from './codecs'
export * from './directions'
export * from './float16'
export * from './topk'

export function adamw(
  theta: usize, gradient: usize, m: usize, v: usize, length: i32,
  gradientScale: f32, beta1: f32, oneMinusBeta1: f32, beta2: f32, oneMinusBeta2: f32,
  correction1: f32, correction2: f32, epsilon: f32, learningRate: f32, keep: f32,
): void {
  const gs = f32x4.splat(gradientScale)
  const b1 = f32x4.splat(beta1)
  const c1 = f32x4.splat(oneMinusBeta1)
  const b2 = f32x4.splat(beta2)
  const c2 = f32x4.splat(oneMinusBeta2)
  const k1 = f32x4.splat(correction1)
  const k2 = f32x4.splat(correction2)
  const eps = f32x4.splat(epsilon)
  const lr = f32x4.splat(learningRate)
  const kp = f32x4.splat(keep)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    const g = f32x4.mul(v128.load(gradient + at), gs)
    const mi = f32x4.add(f32x4.mul(b1, v128.load(m + at)), f32x4.mul(c1, g))
    const vi = f32x4.add(f32x4.mul(b2, v128.load(v + at)), f32x4.mul(f32x4.mul(c2, g), g))
    v128.store(m + at, mi)
    v128.store(v + at, vi)
    const denominator = f32x4.add(f32x4.sqrt(f32x4.mul(vi, k2)), eps)
    const update = f32x4.div(f32x4.mul(f32x4.mul(mi, k1), lr), denominator)
    v128.store(theta + at, f32x4.sub(f32x4.mul(v128.load(theta + at), kp), update))
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    const g = load<f32>(gradient + at) * gradientScale
    const mi = beta1 * load<f32>(m + at) + oneMinusBeta1 * g
    const vi = beta2 * load<f32>(v + at) + oneMinusBeta2 * g * g
    store<f32>(m + at, mi)
    store<f32>(v + at, vi)
    const denominator = sqrt<f32>(vi * correction2) + epsilon
    store<f32>(theta + at, load<f32>(theta + at) * keep - (mi * correction1 * learningRate) / denominator)
  }
}

export function sgd(
  theta: usize, gradient: usize, velocity: usize, length: i32,
  gradientScale: f32, momentum: f32, weightDecay: f32, learningRate: f32,
): void {
  const gs = f32x4.splat(gradientScale)
  const mu = f32x4.splat(momentum)
  const wd = f32x4.splat(weightDecay)
  const lr = f32x4.splat(learningRate)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    const t = v128.load(theta + at)
    const g = f32x4.add(f32x4.mul(v128.load(gradient + at), gs), f32x4.mul(wd, t))
    const u = f32x4.add(f32x4.mul(mu, v128.load(velocity + at)), g)
    v128.store(velocity + at, u)
    v128.store(theta + at, f32x4.sub(t, f32x4.mul(lr, u)))
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    const t = load<f32>(theta + at)
    const u = momentum * load<f32>(velocity + at) + (load<f32>(gradient + at) * gradientScale + weightDecay * t)
    store<f32>(velocity + at, u)
    store<f32>(theta + at, t - learningRate * u)
  }
}

export function axpy(y: usize, a: f32, x: usize, length: i32): void {
  const av = f32x4.splat(a)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    v128.store(y + at, f32x4.add(v128.load(y + at), f32x4.mul(av, v128.load(x + at))))
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    store<f32>(y + at, load<f32>(y + at) + a * load<f32>(x + at))
  }
}

export function scale(x: usize, a: f32, length: i32): void {
  const av = f32x4.splat(a)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    v128.store(x + at, f32x4.mul(v128.load(x + at), av))
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    store<f32>(x + at, load<f32>(x + at) * a)
  }
}

// Lane k of four double-precision sums takes the elements whose number is k modulo 4; the sums are joined as (0+2)+(1+3).
export function sumSquares(x: usize, length: i32): f64 {
  let low = f64x2.splat(0)
  let high = f64x2.splat(0)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const value = v128.load(x + (<usize>i << 2))
    const a = f64x2.promote_low_f32x4(value)
    const b = f64x2.promote_low_f32x4(i8x16.shuffle(value, value, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15))
    low = f64x2.add(low, f64x2.mul(a, a))
    high = f64x2.add(high, f64x2.mul(b, b))
  }
  let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(high, 0) + (f64x2.extract_lane(low, 1) + f64x2.extract_lane(high, 1))
  for (; i < length; i++) {
    const value = <f64>load<f32>(x + (<usize>i << 2))
    sum += value * value
  }
  return sum
}

export function squaredDistance(x: usize, y: usize, length: i32): f64 {
  let low = f64x2.splat(0)
  let high = f64x2.splat(0)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    const value = f32x4.sub(v128.load(x + at), v128.load(y + at))
    const a = f64x2.promote_low_f32x4(value)
    const b = f64x2.promote_low_f32x4(i8x16.shuffle(value, value, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15))
    low = f64x2.add(low, f64x2.mul(a, a))
    high = f64x2.add(high, f64x2.mul(b, b))
  }
  let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(high, 0) + (f64x2.extract_lane(low, 1) + f64x2.extract_lane(high, 1))
  for (; i < length; i++) {
    const at = <usize>i << 2
    const value = <f64>(load<f32>(x + at) - load<f32>(y + at))
    sum += value * value
  }
  return sum
}

export function allFinite(x: usize, length: i32): i32 {
  const exponent = i32x4.splat(0x7f800000)
  const vectorized = length & ~3
  let bad = i32x4.splat(0)
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const bits = v128.and(v128.load(x + (<usize>i << 2)), exponent)
    bad = v128.or(bad, i32x4.eq(bits, exponent))
  }
  if (v128.any_true(bad)) return 0
  for (; i < length; i++) {
    if ((load<u32>(x + (<usize>i << 2)) & 0x7f800000) == 0x7f800000) return 0
  }
  return 1
}

export function heavyBall(
  phi: usize, delta: usize, theta: usize, own: usize, partner: usize, length: i32, alpha: f32, beta: f32,
): void {
  const a = f32x4.splat(alpha)
  const b = f32x4.splat(beta)
  const half = f32x4.splat(0.5)
  const vectorized = length & ~3
  let i: i32 = 0
  for (; i < vectorized; i += 4) {
    const at = <usize>i << 2
    const p = v128.load(phi + at)
    const mean = f32x4.mul(f32x4.add(v128.load(own + at), v128.load(partner + at)), half)
    const d = f32x4.add(f32x4.mul(a, v128.load(delta + at)), f32x4.mul(b, f32x4.sub(mean, p)))
    const next = f32x4.add(p, d)
    v128.store(delta + at, d)
    v128.store(phi + at, next)
    v128.store(theta + at, next)
  }
  for (; i < length; i++) {
    const at = <usize>i << 2
    const p = load<f32>(phi + at)
    const mean = (load<f32>(own + at) + load<f32>(partner + at)) * <f32>0.5
    const d = alpha * load<f32>(delta + at) + beta * (mean - p)
    store<f32>(delta + at, d)
    store<f32>(phi + at, p + d)
    store<f32>(theta + at, p + d)
  }
}

// Ids are checked by the caller.
export function scatterAddRows(table: usize, ids: usize, rows: usize, count: i32, width: i32): void {
  for (let r: i32 = 0; r < count; r++) {
    const target = table + <usize>(load<i32>(ids + (<usize>r << 2)) * width) * 4
    axpy(target, 1, rows + <usize>(r * width) * 4, width)
  }
}
