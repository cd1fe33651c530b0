/** Looks at what Starling stands on here: engine, Node, machine, clock, ports, libraries; and says what mends what is wrong. */
import { gatherFacts } from './facts.ts'
import { judge } from './judge.ts'
import type { Diagnosis, DoctorOptions } from './types.ts'

export { judge } from './judge.ts'
export type { Diagnosis, DoctorOptions, Facts, PortQuestion } from './types.ts'

/**
 * Takes some seconds, in which the engine multiplies matrices in a process of its own.
 * @returns findings in the order in which they are shown
 * @throws the signal's reason when it aborts
 */
export async function diagnose(options: DoctorOptions, signal: AbortSignal): Promise<Diagnosis[]> {
  try {
    return judge(await gatherFacts(options, signal))
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
}
