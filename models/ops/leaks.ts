import { ModelError } from '../errors.ts'
import type { Primitives } from './primitives.ts'

/**
 * Runs one pass and checks that it left no tensor behind, except constants and what its caller holds on purpose.
 * @param held tensors that the caller holds now; asked before and after the pass
 * @throws ModelError 'tensor-leak'
 */
export function withoutLeak<Result>(math: Primitives, held: () => number, pass: () => Result): Result {
  const runtime = math.engine.tf.engine()
  const others = () => runtime.memory().numTensors - math.constants - held()
  const before = others()
  // The scope frees what an exception leaves; a good pass has already freed everything.
  runtime.startScope('pass')
  let result: Result
  let after: number
  try {
    result = pass()
    after = others()
  } finally {
    runtime.endScope()
  }
  if (after !== before) {
    throw new ModelError('tensor-leak', `a pass left ${after - before} tensors behind`, { before, after })
  }
  return result
}
