/** Compute tasks that harm their thread, for the tests of the learner. */
import type { ComputeTask } from '../../../protocols/index.ts'

/** Ends the thread in the middle of the call, as an abort of native code would. */
export const exit: ComputeTask<{ code: number }, never> = {
  name: 'test.exit',
  run: (_context, { code }) => process.exit(code),
}

/** Throws where nobody catches, a moment after the call is answered: the thread dies during whatever comes next. */
export const throwLater: ComputeTask<{ milliseconds: number }, null> = {
  name: 'test.throw-later',
  run(_context, { milliseconds }) {
    setTimeout(() => {
      throw new Error('as the test asked')
    }, milliseconds)
    return null
  },
}

/** An ordinary task: adds to every element. */
export const add: ComputeTask<{ vector: string; amount: number }, number> = {
  name: 'test.add',
  run({ float32 }, { vector, amount }) {
    const values = float32(vector)
    for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + amount
    return values.length
  },
}

export const tasks: readonly ComputeTask<never, unknown>[] = [exit, throwLater, add] as never
