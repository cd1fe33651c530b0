import type { Tokenizer } from '../types.ts'

/** One token per byte of UTF-8: 256 tokens, any text, nothing to train or to ship. */
export const byteTokenizer: Tokenizer = {
  size: 256,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  /** Bytes that do not form UTF-8, e.g. a character cut in half, become U+FFFD. */
  decode(tokens) {
    const bytes = new Uint8Array(tokens.length)
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i]!
      if (!Number.isInteger(token) || token < 0 || token > 255) throw new RangeError(`token ${token} is not a byte`)
      bytes[i] = token
    }
    return new TextDecoder().decode(bytes)
  },
}
