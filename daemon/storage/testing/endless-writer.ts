/** Writes checkpoints of a small state as fast as it can, until it is killed. Started by the tests: node endless-writer.js FOLDER. */
import { quietLog } from '../../log/index.ts'
import { openCheckpoints } from '../checkpoints.ts'
import { stateOf } from './state.ts'

const checkpoints = openCheckpoints(process.argv[2] as string, quietLog)
for (let step = Number(process.argv[3] ?? 0) + 1; ; step++) {
  await checkpoints.write(stateOf(step))
  process.stdout.write(`${step}\n`)
}
