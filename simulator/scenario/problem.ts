/** What the peers of a scenario learn. */
import { type Kernels, type SharedVectors, twins, type VectorSpec } from '../../kernels/index.ts'
import { portable } from '../../models/index.ts'
import {
  type Clock,
  type Learner,
  type PeerName,
  type Random,
  StarlingError,
  seededRandom,
} from '../../protocols/index.ts'
import { createQuadraticLearner } from '../learner.ts'
import { gaussianClusters } from '../learners/clusters.ts'
import { Mlp } from '../learners/mlp.ts'
import { createMlpLearner } from '../learners/mlp-learner.ts'
import { portableNormal } from '../portable.ts'
import type { Scenario } from './scenario.ts'

/** A problem, shared by all peers of a simulation. */
export interface Problem {
  /** Elements of theta. */
  size: number
  /** Vectors of the optimizer, each as long as theta. Default none. */
  moments?: VectorSpec
  learner(name: PeerName, parts: LearnerParts): Learner
}

/** What the learner of one process is made from. */
export interface LearnerParts {
  clock: Clock
  vectors: SharedVectors
  milliseconds: number
  /** Number of the peer's process, from 1. */
  process: number
}

/** Elements of a quadratic: large enough that means over them are steady. */
const QUADRATIC_SIZE = 64

/** A network that learns in some hundred steps what its data can teach, and takes microseconds a step. */
const WIDTHS = [16, 24, 4] as const
const BATCH = 8
const SAMPLES = { training: 4_096, validation: 256 }

export function problemOf({ learner, seed }: Scenario, steps: number): Problem {
  if (learner === 'real') {
    throw new StarlingError('bad-scenario', 'learner: real needs the model of a run; use starling simulate', {})
  }
  const rate = (most: number) => (step: number) => most * (1 - (0.9 * Math.min(step, steps)) / steps)
  const kernels: Kernels = twins
  if (learner === 'quadratic') {
    return {
      size: QUADRATIC_SIZE,
      learner(name, { clock, vectors, milliseconds, process }) {
        vectors.float32('theta').fill(4)
        return createQuadraticLearner({
          clock,
          vectors,
          seed: `${seed} ${name} ${process}`,
          learningRate: rate(0.05),
          milliseconds,
          draw: portableNormal,
          kernels,
        })
      },
    }
  }
  const [dimensions, , classes] = WIDTHS
  const { training, validation } = gaussianClusters({ seed, ...SAMPLES, dimensions, classes, draw: portableNormal })
  const mlp = new Mlp(WIDTHS, portable)
  const start = new Float32Array(mlp.size)
  mlp.initialize(start, seed, portableNormal)
  return {
    size: mlp.size,
    learner(name, { clock, vectors, milliseconds, process }) {
      vectors.float32('theta').set(start)
      return createMlpLearner({
        clock,
        vectors,
        mlp,
        training,
        validation,
        shard: shardOf(name, training.labels.length, seed),
        seed: `${seed} ${name} ${process}`,
        batch: BATCH,
        learningRate: rate(0.1),
        milliseconds,
        kernels,
      })
    },
  }
}

/** Samples of one peer. There may be more peers than samples, so shards overlap. */
const SHARD = 256

function shardOf(name: PeerName, count: number, seed: number): number[] {
  const random: Random = seededRandom('scenario-shard', seed, name)
  return Array.from({ length: SHARD }, () => random.integer(count))
}
