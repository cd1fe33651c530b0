/** What comes after the logits: cross-entropy, and the gradient with which the backward pass begins. */
import type { GradientSink, Graph, Value } from '../ops/index.ts'
import type { Batch } from '../types.ts'
import { sampleCount } from './microbatch.ts'

/** What a model made of some samples. */
export interface Outcome {
  /** Sum of the samples' losses, nats. */
  loss: number
  samples: number
  /** Samples whose label has the largest logit; images only, 0 for text. */
  right: number
}

/** The loss at the logits of a batch. Frees the graph. */
export function lossOf(graph: Graph, logits: Value, batch: Batch): Outcome {
  const { outcome, gradient } = compare(graph, logits, batch)
  gradient.dispose()
  graph.dispose()
  return outcome
}

/** The same, with the backward pass of the whole graph; each sample's loss weighs `weight`. */
export function backwardLoss(
  graph: Graph,
  logits: Value,
  batch: Batch,
  { weight, sink }: { weight: number; sink: GradientSink },
): Outcome {
  const { math } = graph
  const { outcome, gradient } = compare(graph, logits, batch)
  const factor = math.constant(`factor ${weight}`, () => math.float(Float32Array.of(weight), []))
  graph.backward(logits, math.multiply(gradient, factor), sink)
  gradient.dispose()
  return outcome
}

function compare({ math }: Graph, logits: Value, batch: Batch) {
  const labels = batch.kind === 'text' ? batch.targets : batch.labels
  const { losses, gradient } = math.crossEntropy(logits.tensor, labels)
  const loss = losses.reduce((total, value) => total + value, 0)
  const right = batch.kind === 'image' ? countRight(math.read(logits.tensor), labels) : 0
  return { outcome: { loss, samples: sampleCount(batch), right }, gradient }
}

function countRight(logits: Float32Array, labels: Int32Array): number {
  const classes = logits.length / labels.length
  return labels.reduce((right, label, row) => {
    const scores = logits.subarray(row * classes, (row + 1) * classes)
    return right + (scores.indexOf(Math.max(...scores)) === label ? 1 : 0)
  }, 0)
}
