/** A small classification problem that a linear model cannot solve: every class is a few Gaussian clusters, far from each other. */
import { normal, type Random, seededRandom, shuffled } from '../../protocols/index.ts'

/** Labelled points. */
export interface Samples {
  /** Row-major, [labels.length, dimensions]. */
  points: Float32Array
  labels: Uint8Array
  dimensions: number
  classes: number
}

/** Options of {@link gaussianClusters}. */
export interface ClusterOptions {
  seed: number
  /** Default 9,000 and 3,000. */
  training?: number
  validation?: number
  /** Default 32. */
  dimensions?: number
  /** Default 10. */
  classes?: number
  /** Clusters of each class. Default 4. */
  clusters?: number
  /** Standard deviation of the clusters' centres in each dimension, where that of a point around its centre is 1. Default 0.9. */
  spread?: number
  /** Draws from the normal distribution. Default that of protocols/random.ts, whose last bits may differ between machines. */
  draw?: (random: Random) => number
}

/** Training and validation data from the same clusters, all drawn from the seed. */
export function gaussianClusters(options: ClusterOptions): { training: Samples; validation: Samples } {
  const {
    seed,
    training = 9_000,
    validation = 3_000,
    dimensions = 32,
    classes = 10,
    clusters = 4,
    spread = 0.9,
    draw: standard = normal,
  } = options
  const random = seededRandom('gaussian-clusters', seed)
  const centres = Float32Array.from({ length: classes * clusters * dimensions }, () => spread * standard(random))
  const draw = (count: number): Samples => {
    const points = new Float32Array(count * dimensions)
    const labels = new Uint8Array(count)
    for (let i = 0; i < count; i++) {
      const cluster = random.integer(classes * clusters)
      labels[i] = cluster % classes
      for (let d = 0; d < dimensions; d++) {
        points[i * dimensions + d] = centres[cluster * dimensions + d]! + standard(random)
      }
    }
    return { points, labels, dimensions, classes }
  }
  return { training: draw(training), validation: draw(validation) }
}

/**
 * Numbers of the samples of each peer: every class is divided by shares from a symmetric Dirichlet distribution, as is usual for skewed data
 * (Hsu, Qi & Brown 2019, arXiv 1909.06335). Small `alpha`: few classes at each peer. No peer is left without a sample.
 */
export function dirichletShards({ labels, classes }: Samples, peers: number, alpha: number, seed: number): number[][] {
  const random = seededRandom('dirichlet-shards', seed)
  const shards = Array.from({ length: peers }, (): number[] => [])
  for (let label = 0; label < classes; label++) {
    const members = shuffled(
      [...labels.keys()].filter((i) => labels[i] === label),
      random,
    )
    const shares = shards.map(() => gamma(alpha, random))
    const total = shares.reduce((sum, share) => sum + share, 0)
    let taken = 0
    let upTo = 0
    for (const [peer, share] of shares.entries()) {
      upTo += share / total
      const end = peer === peers - 1 ? members.length : Math.round(upTo * members.length)
      shards[peer]!.push(...members.slice(taken, end))
      taken = end
    }
  }
  for (const shard of shards) {
    if (shard.length === 0) {
      shard.push(random.integer(labels.length))
    }
  }
  return shards
}

/** A draw from the gamma distribution of scale 1 (Marsaglia & Tsang 2000, with their boost for shapes below 1). */
function gamma(shape: number, random: Random): number {
  if (shape < 1) {
    return gamma(shape + 1, random) * (1 - random.uniform()) ** (1 / shape)
  }
  const d = shape - 1 / 3
  for (;;) {
    const x = normal(random)
    const v = (1 + x / Math.sqrt(9 * d)) ** 3
    if (v > 0 && Math.log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) {
      return d * v
    }
  }
}
