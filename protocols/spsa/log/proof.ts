/** Evidence that an author signed two different contributions for one step: enough by itself, whoever shows it. */
import { equalBytes, HASH_BYTES } from '../../hash.ts'
import type { Transport } from '../../ports.ts'
import type { Branch, EquivocationProof } from '../types.ts'
import { follow, originOf, type Pace, SIGNATURE_BYTES, SIGNATURE_WORK, statementOf } from './chain.ts'
import { isAuthorName, MAX_STEPS } from './limits.ts'

/**
 * Whether both branches carry the author's signature and differ in their first byte, which is that of `step`. An author whose chain is
 * sound cannot be accused: a second branch under its signature would need a second preimage of a head that it signed.
 */
export async function checkProof(
  proof: EquivocationProof,
  context: { run: string; steps: number; verify: Transport['verify']; pace: Pace },
): Promise<boolean> {
  const { author, step, before, branches } = proof
  const [a, b] = branches
  const fits = ({ bytes, signature }: Branch): boolean =>
    bytes.length > 0 && step - 1 + bytes.length <= context.steps && signature.length === SIGNATURE_BYTES
  if (
    !isAuthorName(author) ||
    !Number.isInteger(step) ||
    step < 1 ||
    step > MAX_STEPS ||
    before.length !== HASH_BYTES
  ) {
    return false
  }
  if (!fits(a) || !fits(b) || a.bytes[0] === b.bytes[0]) {
    return false
  }
  const origin = originOf(context.run, author)
  if (step === 1 && !equalBytes(before, origin)) {
    return false
  }
  for (const { bytes, signature } of branches) {
    const { head } = await follow({ count: step - 1, hash: before }, bytes, context.pace)
    await context.pace(SIGNATURE_WORK)
    if (!(await context.verify(author, statementOf(origin, head), signature))) {
      return false
    }
  }
  return true
}
