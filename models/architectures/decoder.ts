/**
 * Llama-style decoder (Touvron et al. 2023): token embedding; per layer, RMSNorm, causal attention with rotary positions and optional
 * grouped keys, RMSNorm, SwiGLU, both added to the stream; a last RMSNorm and the output matrix. Names and shapes are those of
 * `LlamaForCausalLM` in Hugging Face transformers.
 *
 * Cut into stages: the embedding, the last norm and the output matrix stay with the peer that has the data; layers 0 .. n-1 are dealt to
 * stages in consecutive runs. What travels between stages is the stream, [tokens, width].
 */
import { ModelError } from '../errors.ts'
import { attention } from '../ops/attention.ts'
import type { Graph, Value } from '../ops/graph.ts'
import { add, embedding, linear, rmsNorm, swiGlu } from '../ops/layers.ts'
import { projections } from '../ops/rotary.ts'
import { checkWhole } from './check.ts'
import type { DecoderConfig } from './config.ts'
import type { Architecture, TensorDefinition } from './definition.ts'

/** Start of all matrices, as GPT-2 and Llama; what writes into the stream is divided by √(2 layers) (Radford et al. 2019). */
const DEVIATION = 0.02

export const decoder: Architecture<DecoderConfig> = { tensors, logits }

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
  const layer = (index: number) => {
    const at = (name: string) => `model.layers.${index}.${name}`
    return [
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
  }
  return [
    matrix('model.embed_tokens', vocabulary, width),
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    norm('model.norm'),
    ...(tied ? [] : [matrix('lm_head', vocabulary, width)]),
  ]
}

function logits(graph: Graph, config: DecoderConfig, batch: Parameters<Architecture['logits']>[2]): Value {
  if (batch.kind !== 'text')
    throw new ModelError('wrong-data', 'a decoder is trained on text, not on images', { kind: batch.kind })
  const { layers, width, heads, keyValueHeads = heads, tied = false, rotaryBase = 10_000, normEpsilon = 1e-5 } = config
  const shape = { rows: batch.rows, tokens: batch.context, heads, keyValueHeads, size: width / heads, rotaryBase }
  let stream = embedding(graph, 'model.embed_tokens.weight', batch.inputs)
  for (let index = 0; index < layers; index++) {
    const at = (name: string) => `model.layers.${index}.${name}.weight`
    const x = rmsNorm(graph, stream, at('input_layernorm'), normEpsilon)
    const qkv = projections(
      graph,
      x,
      ['q', 'k', 'v'].map((part) => at(`self_attn.${part}_proj`)),
      shape,
    )
    const mixed = attention(graph, qkv, shape)
    stream = add(graph, stream, linear(graph, mixed, at('self_attn.o_proj')))
    const y = rmsNorm(graph, stream, at('post_attention_layernorm'), normEpsilon)
    const inner = swiGlu(graph, linear(graph, y, at('mlp.gate_proj')), linear(graph, y, at('mlp.up_proj')))
    stream = graph.forgetBefore(add(graph, stream, linear(graph, inner, at('mlp.down_proj'))))
  }
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
