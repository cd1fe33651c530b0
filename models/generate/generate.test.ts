import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createGenerator } from '../random.ts'
import { byteTokenizer } from '../tokenizers/index.ts'
import { generateText, generateTextAsync } from './index.ts'

/** Prefers the letter after the last one, and then the letters near it. */
const logitsAfter = (tokens: Int32Array) =>
  Float32Array.from({ length: 256 }, (_, token) => -Math.abs(token - (tokens.at(-1) as number) - 1))
const options = { prompt: 'abc', tokens: 8, temperature: 1, topK: 4, seed: 1 }

describe('text', () => {
  it('is the same whether the logits are there or are waited for', async () => {
    const seen: number[] = []
    const now = generateText(options, byteTokenizer, 5, createGenerator(3), logitsAfter)
    const later = await generateTextAsync(options, byteTokenizer, 5, createGenerator(3), async (tokens) => {
      seen.push(tokens.length)
      return logitsAfter(tokens)
    })
    assert.equal(later, now)
    assert.equal(now.length, 8)
    assert.deepEqual(seen, [3, 4, 5, 5, 5, 5, 5, 5], 'the model sees as much as its context holds')
  })

  it('takes the likeliest letter at temperature 0', () => {
    const greedy = { ...options, temperature: 0 }
    assert.equal(generateText(greedy, byteTokenizer, 5, createGenerator(3), logitsAfter), 'defghijk')
  })

  it('ends with the error of whoever brings the logits', async () => {
    const lost = new Error('the stage is gone')
    const broken = generateTextAsync(options, byteTokenizer, 5, createGenerator(3), async (tokens) => {
      if (tokens.length === 5) throw lost
      return logitsAfter(tokens)
    })
    await assert.rejects(broken, lost)
  })
})
