/**
 * Rotary positions (Su et al. 2021): a pair of values of every query and key is turned by an angle that grows with the position.
 *
 * In the weights of Llama a pair is value i of a head's first half and value i of its second half. Here the pairs are neighbours, because
 * a turn is then one product of complex numbers: {@link projections} computes queries and keys in that order. Their inner products
 * do not depend on it.
 */
import type { Graph, Value } from './graph.ts'
import type { Primitives, Tensor } from './primitives.ts'

export interface RotaryShape {
  /** Tokens per sequence. */
  tokens: number
  heads: number
  keyValueHeads: number
  /** Size of one head. */
  size: number
  rotaryBase: number
}

/** [tokens, size / 2, 2]: each pair's angle as a complex number of the length size^(-1/4), which makes the scores' factor 1/√size. */
export function turns({ math }: Graph, { tokens, size, rotaryBase }: RotaryShape, direction: 1 | -1): Tensor {
  return math.constant(`turns ${tokens}x${size} ${rotaryBase} ${direction}`, () => {
    const scale = size ** -0.25
    const values = new Float32Array(tokens * size)
    for (let position = 0; position < tokens; position++) {
      for (let pair = 0; pair < size; pair += 2) {
        const angle = direction * position * rotaryBase ** (-pair / size)
        values[position * size + pair] = scale * Math.cos(angle)
        values[position * size + pair + 1] = scale * Math.sin(angle)
      }
    }
    return math.float(values, [tokens, size / 2, 2])
  })
}

/** Turns x [heads, rows, tokens, size]. With the turns of direction -1 it is the transpose of the same with 1. */
export function turn(math: Primitives, x: Tensor, table: Tensor): Tensor {
  const pairs = math.reshape(x, [...x.shape.slice(0, 2), ...table.shape])
  const turned = math.multiplyPairs(pairs, table)
  const result = math.reshape(turned, x.shape)
  pairs.dispose()
  turned.dispose()
  return result
}

/**
 * Queries, keys and values side by side, [rows * tokens, (heads + 2 keyValueHeads) * size], as one product of x [rows * tokens, width]
 * with the three neighbouring matrices. The matrices' rows are reordered and not the products, which are larger.
 */
export function projections(graph: Graph, x: Value, weights: readonly string[], shape: RotaryShape): Value {
  const { math } = graph
  const { order, inverse } = rowOrder(graph, shape)
  const matrix = math.gather(graph.parameter(...weights), order)
  return graph.record(math.matMul(x.tensor, matrix, false, true), [matrix], (gradient) => {
    const product = math.matMul(gradient, x.tensor, true, false)
    graph.giveParameter(weights, math.gather(product, inverse))
    product.dispose()
    graph.give(x, math.matMul(gradient, matrix))
  })
}

/** Row i of the reordered matrix is row order[i] of the weights, and the way back. */
function rowOrder({ math }: Graph, { heads, keyValueHeads, size }: RotaryShape): { order: Tensor; inverse: Tensor } {
  const half = size / 2
  const turned = (heads + keyValueHeads) * size
  const length = turned + keyValueHeads * size
  const row = (i: number) => (i >= turned ? i : i - (i % size) + (i % 2) * half + Math.floor((i % size) / 2))
  const place = (i: number) => (i >= turned ? i : i - (i % size) + 2 * (i % half) + Math.floor((i % size) / half))
  const table = (name: string, at: (i: number) => number) =>
    math.constant(`${name} of ${turned} + ${length - turned} rows by ${size}`, () =>
      math.integer(
        Int32Array.from({ length }, (_, i) => at(i)),
        [length],
      ),
    )
  return { order: table('order', row), inverse: table('inverse order', place) }
}
