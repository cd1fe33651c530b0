/**
 * Builds, then runs the tests with Node's own test runner.
 *
 *     npm test                        everything: every *.test.js in dist/ and scripts/
 *     npm test -- protocols           the tests whose path holds "protocols"
 *     npm test -- noloco --watch ...  words without dashes filter by path, the rest goes to node
 *
 * STARLING_TEST_CONCURRENCY sets how many test files run at once.
 */

import { existsSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { build } from './build.js'
import { filesUnder, root, run } from './files.js'

/** Milliseconds for one test. The longest ones start several whole daemons, which takes a loaded machine minutes. */
const TEST_TIMEOUT = 300_000

/** Test files at once: several start processes of their own, and two cores are the smallest machine we promise. */
const CONCURRENCY = Number(process.env.STARLING_TEST_CONCURRENCY ?? 2)

const parameters = process.argv.slice(2)
const filters = parameters.filter((word) => !word.startsWith('-')).map((word) => word.replace(/\.ts$/, '.js'))
const flags = parameters.filter((word) => word.startsWith('-'))

// A filter that names folders needs only those built.
const heads = filters.map((filter) => filter.replace(/^dist\//, '').split('/')[0])
const chosen = heads.every((head) => existsSync(join(root, head, 'tsconfig.json'))) ? [...new Set(heads)] : []
const failed = filters.length > 0 && heads.every((head) => head === 'scripts') ? 0 : await build(chosen)
if (failed !== 0) {
  console.error('test: the build failed, so no test was run')
  process.exit(failed)
}

const files = [...filesUnder(join(root, 'dist')), ...filesUnder(join(root, 'scripts'))]
  .map((file) => relative(root, file).split(sep).join('/'))
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort()
if (files.length === 0) {
  console.error(filters.length > 0 ? `test: no test file matches ${filters.join(' ')}` : 'test: there are no tests')
  process.exit(2)
}

process.exitCode = await run(process.execPath, [
  '--test',
  `--test-concurrency=${CONCURRENCY}`,
  `--test-timeout=${TEST_TIMEOUT}`,
  '--test-reporter=spec',
  ...flags,
  ...files,
])
