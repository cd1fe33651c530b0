import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import * as z from 'zod'
import { StarlingError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import {
  createManifestSchema,
  decodeManifest,
  MAX_MANIFEST_BYTES,
  manifestBytes,
  nearestOf,
  parseManifest,
  runId,
  verifyManifest,
} from './index.ts'

const schema = createManifestSchema<unknown, unknown, unknown, object>({
  model: z.strictObject({ preset: z.enum(['nano', 'micro']), context: z.number().int().min(2).optional() }),
  data: z.strictObject({
    kind: z.string().default('stories'),
    shard: z
      .discriminatedUnion('rule', [
        z.strictObject({ rule: z.literal('same') }),
        z.strictObject({ rule: z.literal('dirichlet'), alpha: z.number().gt(0).default(0.5) }),
      ])
      .default({ rule: 'same' }),
  }),
  training: z.strictObject({
    learningRate: z.number().gt(0).max(100).optional(),
    steps: z.number().int().min(1).default(1000),
    sizes: z.array(z.strictObject({ width: z.number() })).optional(),
  }),
  strategies: {
    noloco: z.strictObject({
      interval: z.number().int().min(1).default(30),
      alpha: z.number().min(0).lt(1).default(0.5),
    }),
    gossip: z.strictObject({ fragment: z.string() }),
  },
})

const GOOD = `# a run
name: my first run
seed: 7
model:
  preset: nano
training:
  steps: 500
  learningRate: 1e-3
strategy:
  name: noloco
  interval: 25
`

const parse = (text: string) => parseManifest(text, schema)
const line = (text: string): string => {
  try {
    parse(text)
  } catch (error) {
    assert.ok(error instanceof StarlingError && error.code === 'bad-manifest', String(error))
    assert.ok(!error.message.includes('\n'))
    return error.message
  }
  return assert.fail(`this was accepted:\n${text}`)
}

describe('run.yaml', () => {
  test('a good file gives every value, defaults filled in', () => {
    assert.deepEqual(parse(GOOD), {
      version: 1,
      name: 'my first run',
      seed: 7,
      model: { preset: 'nano' },
      data: { kind: 'stories', shard: { rule: 'same' } },
      training: { steps: 500, learningRate: 0.001 },
      strategy: { name: 'noloco', interval: 25, alpha: 0.5 },
      admission: { mode: 'open' },
    })
  })

  test('unknown and misspelt keys: file, line, key, the nearest key and all that are allowed', () => {
    const cases: [string, string][] = [
      [
        GOOD.replace('learningRate', 'lerningrate'),
        'run.yaml:8: training.lerningrate is not a known key; did you mean learningRate? allowed: learningRate, steps, sizes',
      ],
      [
        `${GOOD}admision: {mode: open}\n`,
        'run.yaml:12: admision is not a known key; did you mean admission? allowed: version, name, seed, model, data, training, strategy, admission',
      ],
      [
        GOOD.replace('interval', 'intreval'),
        'run.yaml:11: strategy.intreval is not a known key; did you mean interval? allowed: interval, alpha',
      ],
      [
        GOOD.replace('preset: nano', 'preset: nano\n  colour: 1'),
        'run.yaml:6: model.colour is not a known key; allowed: preset, context',
      ],
      [
        `${GOOD}data:\n  shard:\n    rule: dirichlet\n    alfa: 1\n`,
        'run.yaml:15: data.shard.alfa is not a known key; did you mean alpha? allowed: rule, alpha',
      ],
      [
        `${GOOD}admission:\n  mode: open\n  peers: []\n`,
        'run.yaml:14: admission.peers is not a known key; allowed: mode',
      ],
      [
        GOOD.replace('steps: 500', 'sizes:\n    - width: 1\n    - widht: 2'),
        'run.yaml:9: training.sizes.1.widht is not a known key; did you mean width? allowed: width (and 1 more)',
      ],
    ]
    for (const [text, expected] of cases) {
      assert.equal(line(text), expected)
    }
    for (const key of ['constructor', '__proto__', 'toString']) {
      assert.match(line(`${key}: 1\n${GOOD}`), new RegExp(`^run.yaml:1: ${key} is not a known key`))
    }
  })

  test('wrong types and impossible values: file, line, key, what is allowed and what was given', () => {
    const cases: [string, string][] = [
      [GOOD.replace('500', 'many'), 'run.yaml:7: training.steps must be a number, not "many"'],
      [GOOD.replace('500', '0'), 'run.yaml:7: training.steps must be at least 1, not 0'],
      [GOOD.replace('500', '1.5'), 'run.yaml:7: training.steps must be a whole number, not 1.5'],
      [GOOD.replace('1e-3', '0'), 'run.yaml:8: training.learningRate must be above 0, not 0'],
      [GOOD.replace('1e-3', '.nan'), 'run.yaml:8: training.learningRate must be a number, not NaN'],
      [GOOD.replace('1e-3', '.inf'), 'run.yaml:8: training.learningRate must be a number, not Infinity'],
      [GOOD.replace('nano', 'mini'), 'run.yaml:5: model.preset must be "nano" or "micro", not "mini"'],
      [
        GOOD.replace('  preset: nano', '  context: 4'),
        'run.yaml:4: model.preset must be "nano" or "micro", not nothing',
      ],
      [GOOD.replace('noloco', 'nolocco'), 'run.yaml:10: strategy.name must be one of noloco, gossip, not "nolocco"'],
      [
        GOOD.replace('noloco', 'gossip').replace('  interval: 25\n', ''),
        'run.yaml:9: strategy.fragment is missing: it must be text',
      ],
      [GOOD.replace('name: my first run\n', ''), 'run.yaml:2: name is missing: it must be text'],
      [
        GOOD.replace('my first run', '../run'),
        'run.yaml:2: name must be 1 to 64 letters, digits, spaces, dots, dashes or underscores, not "../run"',
      ],
      [GOOD.replace('seed: 7', 'seed: -7'), 'run.yaml:3: seed must be at least 0, not -7'],
      [`version: 2\n${GOOD}`, 'run.yaml:1: version must be 1, not 2'],
      [`${GOOD}data: words\n`, 'run.yaml:12: data must be a table, not "words"'],
      [
        `${GOOD}admission: {mode: pre-shared-key, key: 00ff}\n`,
        'run.yaml:12: admission.key is not a known key; allowed: mode',
      ],
      [
        `${GOOD}admission: {mode: closed}\n`,
        'run.yaml:12: admission.mode must be "open" or "allow-list" or "pre-shared-key", not "closed"',
      ],
      [
        `${GOOD}admission: {mode: allow-list, peers: [me]}\n`,
        'run.yaml:12: admission.peers.0 must be an Ed25519 peer id like 12D3KooW..., not "me"',
      ],
    ]
    for (const [text, expected] of cases) {
      assert.equal(line(text), expected)
    }
  })

  test('what is no YAML, or YAML that says one thing in two places, is refused with its line', () => {
    const cases: [string, RegExp][] = [
      ['', /^run.yaml: is empty$/],
      ['# nothing\n', /^run.yaml: is empty$/],
      ['- name\n', /^run.yaml:1: the manifest must be a table/],
      ['just words', /^run.yaml:1: the manifest must be a table/],
      ['name: [1\n', /^run.yaml:\d: not valid YAML/],
      [`${GOOD}name: again\n`, /^run.yaml:12: not valid YAML: Map keys must be unique/],
      ['name: &x a\ndata: *x\n', /^run.yaml: not valid YAML: Alias/],
      ['name: !!js/function a\n', /^run.yaml:1: not valid YAML: Unresolved tag/],
      ['\tname: x\n', /^run.yaml:1: not valid YAML/],
      ['name: x\u0000', /not a text file/],
      ['x'.repeat(70_000), /70000 characters/],
      ['['.repeat(30_000), /not valid YAML/],
      [`a: ${'{a: '.repeat(3_000)}`, /not valid YAML/],
    ]
    for (const [text, expected] of cases) {
      assert.match(line(text), expected)
    }
  })

  test('whatever the text, the answer is a manifest or one line', () => {
    const random = seededRandom('yaml fuzz')
    const signs = [...'abn: -\n"\'{}[],&*!|>%@#\t0123.e~?<']
    for (let round = 0; round < 3_000; round++) {
      const text = [...GOOD]
      for (let edits = random.integer(6); edits >= 0; edits--) {
        const at = random.integer(text.length)
        text.splice(at, random.integer(3), signs[random.integer(signs.length)] as string)
      }
      try {
        parse(text.join(''))
      } catch (error) {
        assert.ok(error instanceof StarlingError && error.code === 'bad-manifest', `${error}\n${text.join('')}`)
        assert.ok(error.message.startsWith('run.yaml'))
      }
    }
  })

  test('the nearest key is one that could have been meant', () => {
    const keys = ['learningRate', 'steps', 'batch', 'warmup']
    assert.equal(nearestOf('learning_rate', keys), 'learningRate')
    assert.equal(nearestOf('step', keys), 'steps')
    assert.equal(nearestOf('bacth', keys), 'batch')
    assert.equal(nearestOf('colour', keys), undefined)
    assert.equal(nearestOf('', keys), undefined)
  })
})

describe("a manifest's bytes", () => {
  test('the same run has the same bytes and name, however it was written', () => {
    const same = `strategy: {interval: 25.0, name: noloco, alpha: .5}
version: 1
training: {learningRate: 0.001, steps: 5e2}
admission: {mode: open}
seed: 0x7
name: "my first run"
data: {shard: {rule: same}}
model: {preset: nano}
`
    const [a, b] = [parse(GOOD), parse(same)]
    assert.deepEqual(manifestBytes(a), manifestBytes(b))
    assert.equal(runId(manifestBytes(a)), runId(manifestBytes(b)))
    assert.equal(runId(manifestBytes(a)), 'bafyreiayptixpwqni6532rgzzdyak46afd5upq3cm7hekkmcs2nkbqvala')
    assert.notEqual(
      runId(manifestBytes(parse(GOOD.replace('1e-3', '1.0000001e-3')))),
      'bafyreiayptixpwqni6532rgzzdyak46afd5upq3cm7hekkmcs2nkbqvala',
    )
    const [first, second] = [
      '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo',
      '12D3KooWL3XJ9EMCyZvmmGXL2LMiVBtrVa2BuESsJiXkSj7333Jw',
    ]
    const list = (peers: string[]) =>
      manifestBytes(parse(`${GOOD}admission: {mode: allow-list, peers: [${peers.join(', ')}]}\n`))
    assert.deepEqual(list([first, second, first] as string[]), list([second, first] as string[]))
  })

  test('what is encoded is decoded to the same manifest', () => {
    const values = fc.record({
      version: fc.constant(1 as const),
      name: fc.stringMatching(/^[a-z][a-z0-9 ._-]{0,20}$/),
      seed: fc.nat(),
      model: fc.record(
        { preset: fc.constantFrom('nano', 'micro'), context: fc.integer({ min: 2, max: 9 }) },
        { requiredKeys: ['preset'] },
      ),
      training: fc.record({
        steps: fc.integer({ min: 1 }),
        learningRate: fc.double({ min: 1e-300, max: 100, noNaN: true }),
      }),
      strategy: fc.record({
        name: fc.constant('noloco'),
        interval: fc.integer({ min: 1 }),
        alpha: fc.double({ min: 0, max: 0.999, noNaN: true }),
      }),
    })
    fc.assert(
      fc.property(values, (value) => {
        const checked = schema.check(value)
        assert.ok('manifest' in checked, JSON.stringify(checked))
        const bytes = manifestBytes(checked.manifest)
        assert.deepEqual(manifestBytes(decodeManifest(bytes, schema)), bytes)
      }),
      { numRuns: 1_000, seed: 1 },
    )
  })

  test('changed bytes are a manifest of another name, or refused', () => {
    const good = manifestBytes(parse(GOOD))
    const random = seededRandom('manifest fuzz')
    let accepted = 0
    for (let round = 0; round < 5_000; round++) {
      const bytes =
        round % 3 === 0 ? Uint8Array.from({ length: random.integer(100) }, () => random.integer(256)) : good.slice()
      for (let flips = random.integer(4); flips > 0 && round % 3 > 0; flips--) {
        bytes[random.integer(bytes.length)] = random.integer(256)
      }
      try {
        const decoded = decodeManifest(bytes, schema)
        assert.deepEqual(manifestBytes(decoded), bytes)
        accepted++
      } catch (error) {
        assert.ok(error instanceof StarlingError && error.code === 'bad-manifest', String(error))
        assert.ok(!error.message.includes('\n'), error.message)
      }
    }
    assert.ok(accepted > 100, String(accepted))
    assert.throws(() => decodeManifest(new Uint8Array(MAX_MANIFEST_BYTES + 1), schema), /more than/)
    assert.throws(
      () => verifyManifest(good.slice(1), runId(good)),
      (error) => error instanceof StarlingError && error.code === 'wrong-manifest',
    )
    verifyManifest(good, runId(good))
  })
})
