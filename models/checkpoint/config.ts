/** The `config.json` with which Hugging Face `transformers` opens a decoder, and back. */
import * as z from 'zod'
import type { DecoderConfig, ModelConfig } from '../architectures/config.ts'
import { ModelError } from '../errors.ts'

/** Name under which our own description stands in every `config.json`, so that any model can be opened again. */
const OWN = 'starling'

/**
 * `config.json` of a model. A decoder gets the fields of `LlamaConfig`, with which `LlamaForCausalLM.from_pretrained` opens the folder; the
 * image classifiers have no counterpart in `transformers` and get our own description only.
 */
export function huggingFaceConfig(model: ModelConfig): Record<string, unknown> {
  if (model.architecture !== 'decoder') return { model_type: `starling-${model.architecture}`, [OWN]: model }
  const { vocabulary, context, layers, width, heads, keyValueHeads = heads, hidden } = model
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: vocabulary,
    max_position_embeddings: context,
    num_hidden_layers: layers,
    hidden_size: width,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: width / heads,
    intermediate_size: hidden,
    hidden_act: 'silu',
    rms_norm_eps: model.normEpsilon ?? 1e-5,
    rope_theta: model.rotaryBase ?? 10_000,
    rope_scaling: null,
    tie_word_embeddings: model.tied ?? false,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    initializer_range: 0.02,
    // Bytes have no special tokens.
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
    torch_dtype: 'float32',
    use_cache: true,
    [OWN]: model,
  }
}

const count = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31)

/** What must hold for a Llama to be one that is computed here. Other keys are of no account. */
const llama = z.looseObject({
  model_type: z.literal('llama'),
  vocab_size: count,
  max_position_embeddings: count,
  num_hidden_layers: count,
  hidden_size: count,
  num_attention_heads: count,
  num_key_value_heads: count.optional(),
  head_dim: count.nullish(),
  intermediate_size: count,
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().optional(),
  rope_scaling: z.null().optional(),
  /** Where transformers 5 keeps the base. */
  rope_parameters: z
    .looseObject({ rope_type: z.literal('default').optional(), rope_theta: z.number().positive().optional() })
    .nullish(),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.literal(false).default(false),
  mlp_bias: z.literal(false).default(false),
})

/**
 * The decoder that a `config.json` of a Llama describes.
 * @throws ModelError 'bad-config' that names the key that is missing or cannot be computed here.
 */
export function decoderFromHuggingFace(json: unknown, file = 'config.json'): DecoderConfig {
  const parsed = llama.safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    const key = issue.path.join('.') || 'the file'
    throw new ModelError('bad-config', `${file}: ${key}: ${issue.message}`, { file, key })
  }
  const config = parsed.data
  const heads = config.num_attention_heads
  const fail = (key: string, what: string) => new ModelError('bad-config', `${file}: ${key} ${what}`, { file, key })
  if (config.hidden_size % (2 * heads) !== 0)
    throw fail('hidden_size', `must be a multiple of 2 x num_attention_heads = ${2 * heads}`)
  if (config.hidden_size % 16 !== 0) throw fail('hidden_size', `must be a multiple of 16, not ${config.hidden_size}`)
  if (config.head_dim != null && config.head_dim * heads !== config.hidden_size) {
    throw fail(
      'head_dim',
      `must be hidden_size / num_attention_heads = ${config.hidden_size / heads}, not ${config.head_dim}`,
    )
  }
  const keyValueHeads = config.num_key_value_heads ?? heads
  if (heads % keyValueHeads !== 0) throw fail('num_key_value_heads', `must divide num_attention_heads = ${heads}`)
  return {
    architecture: 'decoder',
    vocabulary: config.vocab_size,
    context: config.max_position_embeddings,
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    heads,
    keyValueHeads,
    hidden: config.intermediate_size,
    tied: config.tie_word_embeddings,
    rotaryBase: config.rope_theta ?? config.rope_parameters?.rope_theta ?? 10_000,
    normEpsilon: config.rms_norm_eps,
  }
}
