import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import { drawDigits } from './digits.ts'
import { generateStories, storyEntropyBound } from './stories/generate.ts'
import { endings, openings, plots, scenery } from './stories/plots.ts'
import { expand, parseTemplate } from './stories/template.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/**
 * What every peer of a run must generate, on whatever machine. A change of the grammar or the drawings changes these, and with them what a
 * run of before was trained on.
 */
const STORIES_SHA256 = '7e677df8d468ee4363a7007fdb7dfea6740d5e1bfaebedbb3b41cba7fc1c27da'
const DIGITS_SHA256 = '505d9a2064664e850a695f2f7290c8c9d9c6cb5142c2ace0413e92db8757ea5d'

test('the stories are the same bytes everywhere', () => {
  assert.equal(sha256(generateStories(1, 200_000)), STORIES_SHA256)
  assert.notEqual(sha256(generateStories(2, 200_000)), STORIES_SHA256)
})

test('the drawings are the same bytes everywhere', () => {
  const { pixels, labels } = drawDigits(1, 500)
  assert.equal(sha256(Buffer.concat([pixels, labels])), DIGITS_SHA256)
})

test('stories have the length asked for, and a shorter text is the beginning of a longer one', () => {
  const long = generateStories(5, 30_000)
  assert.equal(long.length, 30_000)
  assert.deepEqual(generateStories(5, 12_345), long.subarray(0, 12_345))
})

test('stories read like sentences', () => {
  const text = new TextDecoder().decode(generateStories(1, 500_000))
  const stories = text.split('\n\n').slice(0, -1)
  for (const story of stories) {
    assert.match(story, /^[A-Z][A-Za-z0-9 .,!?"]*[.!?]"?$/)
    assert.doesNotMatch(story, / {2}| [.,!?]|undefined|\b[Aa] [aeiou]|\b[Aa]n [^aeiou]/)
    assert.equal((story.match(/"/g)?.length ?? 0) % 2, 0, story)
  }
  assert.ok(new Set(stories).size === stories.length, 'no story twice')
})

test('the entropy of the draws is that of a text to be learned: neither noise nor a constant', () => {
  const bound = storyEntropyBound(1, 500_000)
  assert.ok(bound > 0.05 && bound < 0.5, `${bound} nats per byte`)
})

test('every template can be parsed, and a faulty one is named', () => {
  for (const template of [...openings, ...endings, ...scenery, ...plots.flat()]) parseTemplate(template)
  assert.throws(() => parseTemplate('a (b|c'), /missing \) at 6/)
  assert.throws(() => parseTemplate('a) b'), /stray \) at 1/)
  assert.throws(() => parseTemplate('a {b'), /bad fact at 2/)
  const filling = { fact: (name: string) => (name === 'x' ? 'owl' : 'fox'), choose: (bound: number) => bound - 1 }
  assert.equal(expand(parseTemplate('{A x} and {a y}(, (b|c)|, d(e|f))'), filling), 'An owl and a fox, df')
})

test('every digit is drawn about equally often, in ink on dark paper, and no drawing twice', () => {
  const { pixels, labels, count } = drawDigits(2, 3000)
  const seen = new Array<number>(10).fill(0)
  const drawings = new Set<string>()
  for (let image = 0; image < count; image++) {
    seen[labels[image]!]!++
    const drawing = pixels.subarray(image * 784, (image + 1) * 784)
    drawings.add(sha256(drawing))
    const ink = drawing.reduce((sum, value) => sum + (value > 100 ? 1 : 0), 0)
    assert.ok(ink > 15 && ink < 400, `${ink} pixels of ink in image ${image}, a ${labels[image]}`)
  }
  for (const times of seen) assert.ok(times > 220 && times < 380, `${seen}`)
  assert.equal(drawings.size, count)
})
