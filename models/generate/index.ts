/** Text from a trained decoder: temperature and top-k sampling with a seeded generator, over a sliding context. */
import { ModelError } from '../errors.ts'
import type { Generator } from '../random.ts'
import type { GenerateOptions, Tokenizer } from '../types.ts'

/**
 * Continues `prompt` by `tokens` tokens and returns only the continuation. An empty prompt starts from token 0.
 * @param context the model sees at most this many last tokens
 * @param generator where the draws come from; `options.seed` is the caller's to use
 * @param logitsAfter logits of the next token after the given ones
 * @throws ModelError 'bad-generation' for a negative temperature, top-k or number of tokens
 */
export function generateText(
  options: GenerateOptions,
  tokenizer: Tokenizer,
  context: number,
  generator: Generator,
  logitsAfter: (tokens: Int32Array) => Float32Array,
): string {
  const writer = write(options, tokenizer, context, generator)
  let at = writer.next()
  while (!at.done) at = writer.next(logitsAfter(at.value))
  return at.value
}

/** {@link generateText} for logits that come from elsewhere: they are waited for. What `logitsAfter` rejects with ends it. */
export async function generateTextAsync(
  options: GenerateOptions,
  tokenizer: Tokenizer,
  context: number,
  generator: Generator,
  logitsAfter: (tokens: Int32Array) => Promise<Float32Array>,
): Promise<string> {
  const writer = write(options, tokenizer, context, generator)
  let at = writer.next()
  while (!at.done) at = writer.next(await logitsAfter(at.value))
  return at.value
}

/** Asks for the logits after some tokens, again and again; returns the text. */
function* write(options: GenerateOptions, tokenizer: Tokenizer, context: number, generator: Generator): Writer {
  check(options)
  const history = [...tokenizer.encode(options.prompt)]
  if (history.length === 0) history.push(0)
  const prompted = history.length
  for (let i = 0; i < options.tokens; i++) {
    const logits = yield Int32Array.from(history.slice(-context))
    history.push(sample(logits, options.temperature, options.topK, generator.uniform()))
  }
  return tokenizer.decode(history.slice(prompted))
}

type Writer = globalThis.Generator<Int32Array, string, Float32Array>

/**
 * One token: the likeliest at temperature 0, else drawn from softmax(logits / temperature) over the `topK` likeliest (0: all).
 * @param draw uniform in [0, 1)
 */
export function sample(logits: Float32Array, temperature: number, topK: number, draw: number): number {
  // Ties keep the lower id first, so the same logits give the same token everywhere.
  const order = Array.from(logits.keys()).sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b)
  const best = order[0] as number
  if (temperature === 0) return best
  const candidates = topK > 0 ? order.slice(0, topK) : order
  const largest = logits[best] as number
  const weights = candidates.map((token) => Math.exp(((logits[token] as number) - largest) / temperature))
  let left = draw * weights.reduce((total, weight) => total + weight, 0)
  for (const [i, weight] of weights.entries()) {
    left -= weight
    if (left < 0) return candidates[i] as number
  }
  return candidates.at(-1) as number
}

function check({ tokens, temperature, topK }: GenerateOptions): void {
  const refuse = (key: string, value: number, allowed: string) => {
    throw new ModelError('bad-generation', `${key} is ${value}; it must be ${allowed}`, { key, value, allowed })
  }
  if (!Number.isSafeInteger(tokens) || tokens < 0) refuse('tokens', tokens, 'a whole number, 0 or more')
  if (!Number.isFinite(temperature) || temperature < 0) refuse('temperature', temperature, '0 or more')
  if (!Number.isSafeInteger(topK) || topK < 0) refuse('topK', topK, 'a whole number, 0 or more')
}
