/**
 * Llama-style decoder (Touvron et al. 2023): token embedding; per layer, RMSNorm, causal attention with rotary positions and optional
 * grouped keys, RMSNorm, SwiGLU, both added to the stream; a last RMSNorm and the output matrix. Names and shapes are those of
 * `LlamaForCausalLM` in Hugging Face transformers.
 *
 * Cut into stages: the embedding, the last norm and the output matrix (once, when it is the embedding) stay with the peer that has the data;
 * layers 0 .. n-1 are dealt to stages in consecutive runs. What travels between stages is the stream, [tokens, width]: all layers are alike.
 */
import { ModelError } from '../errors.ts'
import { attention } from '../ops/attention.ts'
import type { Graph, Value } from '../ops/graph.ts'
import { add, embedding, linear, rmsNorm, swiGlu } from '../ops/layers.ts'
import { projections } from '../ops/rotary.ts'
import type { Batch } from '../types.ts'
import { checkWhole } from './check.ts'
import type { DecoderConfig } from './config.ts'
import type { Architecture, TensorDefinition } from './definition.ts'

/** Start of all matrices, as GPT-2 and Llama; what writes into the stream is divided by √(2 layers) (Radford et al. 2019). */
const DEVIATION = 0.02

export const decoder: Architecture<DecoderConfig> = {
  layersKey: 'layers',
  tensors,
  layers: ({ layers }) => layers,
  stream: ({ context, width }) => [context, width],
  embed,
  layer,
  head,
}

function tensors(config: DecoderConfig): TensorDefinition[] {
  check(config)
  const { vocabulary, layers, width, heads, keyValueHeads = heads, hidden, tied = false } = config
  const keyWidth = (width / heads) * keyValueHeads
  const matrix = (name: string, rows: number, columns: number, deviation = DEVIATION): TensorDefinition => {
    return { name: `${name}.weight`, shape: [rows, columns], start: { deviation }, decay: true }
  }
  const norm = (name: string): TensorDefinition => {
    return { name: `${name}.weight`, shape: [width], start: { constant: 1 }, decay: false }
  }
  const toStream = DEVIATION / Math.sqrt(2 * layers)
  const block = (index: number) => {
    const at = (name: string) => `model.layers.${index}.${name}`
    const definitions = [
      norm(at('input_layernorm')),
      matrix(at('self_attn.q_proj'), width, width),
      matrix(at('self_attn.k_proj'), keyWidth, width),
      matrix(at('self_attn.v_proj'), keyWidth, width),
      matrix(at('self_attn.o_proj'), width, width, toStream),
      norm(at('post_attention_layernorm')),
      matrix(at('mlp.gate_proj'), hidden, width),
      matrix(at('mlp.up_proj'), hidden, width),
      matrix(at('mlp.down_proj'), width, hidden, toStream),
    ]
    return definitions.map((definition) => ({ ...definition, layer: index }))
  }
  return [
    matrix('model.embed_tokens', vocabulary, width),
    ...Array.from({ length: layers }, (_, index) => block(index)).flat(),
    norm('model.norm'),
    ...(tied ? [] : [matrix('lm_head', vocabulary, width)]),
  ]
}

function embed(graph: Graph, _config: DecoderConfig, batch: Batch): Value {
  if (batch.kind !== 'text')
    throw new ModelError('wrong-data', 'a decoder is trained on text, not on images', { kind: batch.kind })
  return embedding(graph, 'model.embed_tokens.weight', batch.inputs)
}

function layer(graph: Graph, config: DecoderConfig, index: number, stream: Value, rows: number): Value {
  const { width, heads, keyValueHeads = heads, rotaryBase = 10_000, normEpsilon = 1e-5 } = config
  const tokens = (stream.tensor.shape[0] as number) / rows
  const shape = { rows, tokens, heads, keyValueHeads, size: width / heads, rotaryBase }
  const at = (name: string) => `model.layers.${index}.${name}.weight`
  const x = rmsNorm(graph, stream, at('input_layernorm'), normEpsilon)
  const qkv = projections(
    graph,
    x,
    ['q', 'k', 'v'].map((part) => at(`self_attn.${part}_proj`)),
    shape,
  )
  const mixed = attention(graph, qkv, shape)
  const middle = add(graph, stream, linear(graph, mixed, at('self_attn.o_proj')))
  const y = rmsNorm(graph, middle, at('post_attention_layernorm'), normEpsilon)
  const inner = swiGlu(graph, linear(graph, y, at('mlp.gate_proj')), linear(graph, y, at('mlp.up_proj')))
  return add(graph, middle, linear(graph, inner, at('mlp.down_proj')))
}

function head(graph: Graph, { tied = false, normEpsilon = 1e-5 }: DecoderConfig, stream: Value): Value {
  const last = rmsNorm(graph, stream, 'model.norm.weight', normEpsilon)
  return linear(graph, last, tied ? 'model.embed_tokens.weight' : 'lm_head.weight')
}

function check(config: DecoderConfig): void {
  const { heads, keyValueHeads = heads } = config
  for (const key of ['vocabulary', 'context', 'layers', 'heads', 'hidden'] as const) checkWhole(key, config[key])
  checkWhole('width', config.width, 2 * heads)
  // Matrices then fill whole 64-byte lines, so that neighbouring ones can be used as one.
  checkWhole('width', config.width, 16)
  checkWhole('keyValueHeads', keyValueHeads)
  if (heads % keyValueHeads !== 0) {
    const allowed = `a divisor of model.heads (${heads})`
    throw new ModelError('bad-model', `model.keyValueHeads is ${keyValueHeads}; it must be ${allowed}`, {
      key: 'keyValueHeads',
      value: keyValueHeads,
      allowed,
    })
  }
}
