/**
 * How training data are divided among peers. Everything is a pure function of the run, so peers agree without talking:
 *
 * - `shuffled`: all training data for everybody, each peer in an order of its own; any number of peers, nothing left unused. The default.
 * - `same`: all training data in one order; all peers draw the same batches.
 * - `disjoint`: equal parts without overlap that together are all training data.
 * - `dirichlet`: parts without overlap in which each label (each section of a text) is divided in proportions drawn from a symmetric
 *   Dirichlet distribution; the smaller alpha, the more a part is made of few labels (Hsu, Qi & Brown 2019, arXiv:1909.06335).
 *
 * A peer takes the part index modulo the number of parts, or, when peers come and go and nobody numbers them, the part that the hash of its
 * name gives. Two peers with one part still draw it in orders of their own.
 */
import { ModelError } from '../errors.ts'
import { exp, log } from '../portable-math.ts'
import { type SeededRandom, seededRandom } from '../random.ts'
import { OPEN_PARTS, type ShardSpec } from './spec.ts'

/** Who asks for data: one of a known number of peers, or a name among peers that come and go. */
export type ShardIdentity = { index: number; count: number } | { peer: string }

/** Which part a peer takes. */
export interface Part {
  index: number
  of: number
  /** Key of the order in which the part is drawn. */
  order: string
}

/**
 * The part of this peer.
 * @param most into how many parts the data can be cut; bounds {@link OPEN_PARTS}, so that a short text of a user still opens.
 * @throws ModelError 'bad-shard' when the index is not below the count.
 */
export function partOf(
  shard: ShardSpec,
  identity: ShardIdentity,
  seed: number | string,
  most: number = OPEN_PARTS,
): Part {
  if (shard.rule === 'same') return { index: 0, of: 1, order: 'same' }
  if ('peer' in identity) {
    const order = `peer ${identity.peer}`
    if (shard.rule === 'shuffled') return { index: 0, of: 1, order }
    const of = shard.of ?? Math.max(1, Math.min(OPEN_PARTS, most))
    return { index: seededRandom('part', seed, identity.peer).integer(of), of, order }
  }
  const { index, count } = identity
  if (!Number.isInteger(index) || !Number.isInteger(count) || index < 0 || index >= count) {
    throw new ModelError('bad-shard', `shard index ${index} is not below the number of shards ${count}`, {
      index,
      count,
    })
  }
  if (shard.rule === 'shuffled') return { index: 0, of: 1, order: `index ${index}` }
  const of = shard.of ?? count
  return { index: index % of, of, order: `index ${index}` }
}

/** Where part `index` of `length` elements cut into `of` equal parts starts. */
export function cut(length: number, index: number, of: number): number {
  return Math.floor((length * index) / of)
}

/**
 * Divides groups of elements among `of` parts in Dirichlet proportions.
 * @param groups elements of each label, in the order in which they are dealt.
 * @returns the elements of each part. Every element is in exactly one; none is empty while there are at least `of` elements.
 */
export function dirichletParts(
  groups: readonly (readonly number[])[],
  of: number,
  alpha: number,
  seed: number | string,
): number[][] {
  const parts: number[][] = Array.from({ length: of }, () => [])
  groups.forEach((group, label) => {
    const shares = dirichlet(of, alpha, seededRandom('dirichlet', seed, label))
    let from = 0
    let sum = 0
    for (let part = 0; part < of; part++) {
      sum += shares[part]!
      const to = part === of - 1 ? group.length : Math.min(group.length, Math.round(sum * group.length))
      parts[part]!.push(...group.slice(from, to))
      from = Math.max(from, to)
    }
  })
  // With a small alpha some part may get nothing: it takes the later half of the largest.
  for (const part of parts) {
    if (part.length > 0) continue
    const largest = parts.reduce((best, other) => (other.length > best.length ? other : best))
    part.push(...largest.splice(Math.ceil(largest.length / 2)))
  }
  return parts
}

/** One draw from the symmetric Dirichlet distribution: gamma draws over their sum, in logarithms because small alphas underflow. */
export function dirichlet(of: number, alpha: number, random: SeededRandom): number[] {
  const logs = Array.from({ length: of }, () => logGamma(alpha, random))
  const largest = Math.max(...logs)
  const weights = logs.map((value) => exp(value - largest))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return weights.map((weight) => weight / sum)
}

/** Logarithm of a gamma draw with this shape and scale 1 (Marsaglia & Tsang 2000; below 1 with their power of a uniform number). */
function logGamma(shape: number, random: SeededRandom): number {
  if (shape < 1) return logGamma(shape + 1, random) + log((random.bits() + 0.5) / 2 ** 32) / shape
  const d = shape - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  for (;;) {
    const x = random.normal()
    const base = 1 + c * x
    if (base <= 0) continue
    const v = base * base * base
    if (log((random.bits() + 0.5) / 2 ** 32) < 0.5 * x * x + d - d * v + d * log(v)) return log(d) + log(v)
  }
}
