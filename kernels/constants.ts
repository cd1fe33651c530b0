import type { AdamWOptions } from './types.ts'

/** baseⁿ by squaring: only multiplications, so the same bits on every machine, unlike `Math.pow`. */
export function integerPower(base: number, exponent: number): number {
  let result = 1
  let square = base
  for (let n = exponent; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) result *= square
    square *= square
  }
  return result
}

/** The constants of one AdamW step, each rounded once to single precision. */
export function adamwConstants(options: AdamWOptions) {
  const f = Math.fround
  return {
    gradientScale: f(options.gradientScale),
    beta1: f(options.beta1),
    oneMinusBeta1: f(1 - options.beta1),
    beta2: f(options.beta2),
    oneMinusBeta2: f(1 - options.beta2),
    correction1: f(1 / (1 - integerPower(options.beta1, options.step))),
    correction2: f(1 / (1 - integerPower(options.beta2, options.step))),
    epsilon: f(options.epsilon),
    learningRate: f(options.learningRate),
    keep: f(1 - options.learningRate * options.weightDecay),
  }
}

/** Blocks whose largest magnitude is below this are coded as zero, for 127 divided by it would overflow. 2⁻¹⁰⁰. */
export const SMALLEST_MAGNITUDE = 7.888609052210118e-31

/** Largest finite single-precision number. */
export const LARGEST_FLOAT32 = 3.4028234663852886e38
