/** Causal attention with rotary positions and optional grouped keys, as one operation. */
import type { Graph, Value } from './graph.ts'
import { filled } from './layers.ts'
import type { Primitives, Tensor } from './primitives.ts'
import { type RotaryShape, turn, turns } from './rotary.ts'

export interface AttentionShape extends RotaryShape {
  /** Sequences. */
  rows: number
}

/** Added to the scores of later tokens; its exponential is 0. */
const MASKED = -1e9

/** [tokens, tokens]: 0 up to the diagonal, a large negative number after it. */
function maskOf({ math }: Graph, { tokens }: AttentionShape): Tensor {
  return math.constant(`attention mask ${tokens}`, () => {
    const at = (i: number) => (i % tokens > Math.floor(i / tokens) ? MASKED : 0)
    return math.float(
      Float32Array.from({ length: tokens * tokens }, (_, i) => at(i)),
      [tokens, tokens],
    )
  })
}

/** Another shape of a tensor that is not needed in its first one. */
function as(math: Primitives, x: Tensor, shape: readonly number[]): Tensor {
  const result = math.reshape(x, shape)
  x.dispose()
  return result
}

/**
 * softmax(q kᵀ / √size + mask) v per head. The input is q, k and v as `projections` gives them, before their turn by position; the
 * result is [rows * tokens, heads * size]. Groups of heads / keyValueHeads neighbouring query heads share a key head (Ainslie et al. 2023).
 * Heads come first inside, so that q, k and v are slices without a copy.
 * Backward, with P the attention weights and O the result: dS = P (g vᵀ - Σ g O), the row sum taken over the small O (Dao et al. 2022).
 */
export function attention(graph: Graph, qkv: Value, shape: AttentionShape): Value {
  const { math } = graph
  const { rows, tokens, heads, keyValueHeads, size } = shape
  const group = heads / keyValueHeads
  const all = heads + 2 * keyValueHeads
  const turned = heads + keyValueHeads

  /** [rows * tokens, count * size] -> [count, rows, tokens, size] */
  const split = (x: Tensor, count: number): Tensor => {
    const folded = math.reshape(x, [rows, tokens, count, size])
    const result = math.transpose(folded, [2, 0, 1, 3])
    folded.dispose()
    return result
  }
  /** The inverse of split; disposes of x. */
  const merge = (x: Tensor, count: number): Tensor => {
    const result = math.transpose(x, [1, 2, 0, 3])
    x.dispose()
    return as(math, result, [rows * tokens, count * size])
  }
  /** Stacks the queries of a group over one another: [heads, rows, ...] -> [keyValueHeads * rows, group * tokens, size]. Disposes of x. */
  const stack = (x: Tensor): Tensor => {
    const grouped = group === 1 ? x : regroup(x, [keyValueHeads, group, rows, tokens, size])
    return as(math, grouped, [keyValueHeads * rows, group * tokens, size])
  }
  /** The inverse of stack; disposes of x. */
  const unstack = (x: Tensor): Tensor => {
    const ungrouped = group === 1 ? x : regroup(x, [keyValueHeads, rows, group, tokens, size])
    return as(math, ungrouped, [heads, rows, tokens, size])
  }
  const regroup = (x: Tensor, form: readonly number[]): Tensor => {
    const folded = as(math, x, form)
    const result = math.transpose(folded, [0, 2, 1, 3, 4])
    folded.dispose()
    return result
  }
  const keyShape = [keyValueHeads * rows, tokens, size]
  const scoreShape = [keyValueHeads * rows, group * tokens, tokens]
  const maskShape = [keyValueHeads * rows * group, tokens, tokens]

  const parts = split(qkv.tensor, all)
  const unturned = math.rows(parts, 0, turned)
  const positioned = turn(math, unturned, turns(graph, shape, 1))
  const queries = stack(math.rows(positioned, 0, heads))
  const keys = as(math, math.rows(positioned, heads, keyValueHeads), keyShape)
  const values = as(math, math.rows(parts, turned, keyValueHeads), keyShape)
  const scores = as(math, math.matMul(queries, keys, false, true), maskShape)
  const masked = math.add(scores, maskOf(graph, shape))
  const weights = as(math, math.softmax(masked), scoreShape)
  for (const tensor of [parts, unturned, positioned, scores, masked]) tensor.dispose()
  const mixed = math.matMul(weights, values)
  const output = merge(unstack(math.share(mixed)), heads)

  return graph.record(output, [queries, keys, values, weights, mixed], (gradient) => {
    const upstream = stack(split(gradient, heads))
    const products = math.multiply(upstream, mixed)
    const flat = as(math, products, [rows * heads * tokens, size])
    const along = as(math, math.matMul(flat, filled(graph, [size, 1], 1)), [...scoreShape.slice(0, 2), 1])
    const slopes = math.matMul(upstream, values, false, true)
    const across = math.subtract(slopes, along)
    const scoreGradient = math.multiply(across, weights)
    const unturn = (x: Tensor) => as(math, x, [keyValueHeads, rows, tokens, size])
    const valueGradient = unturn(math.matMul(weights, upstream, true, false))
    const queryGradient = unstack(math.matMul(scoreGradient, keys))
    const keyGradient = unturn(math.matMul(scoreGradient, queries, true, false))
    const turnedGradient = math.concatRows([queryGradient, keyGradient])
    const unturnedGradient = turn(math, turnedGradient, turns(graph, shape, -1))
    graph.give(qkv, merge(math.concatRows([unturnedGradient, valueGradient]), all))
    for (const tensor of [upstream, flat, along, slopes, across, scoreGradient]) tensor.dispose()
    for (const tensor of [valueGradient, queryGradient, keyGradient, turnedGradient, unturnedGradient]) tensor.dispose()
  })
}
