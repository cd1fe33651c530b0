import { byteTokenizer, createGenerator, type GenerateOptions, generateTextAsync } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'
import type { Run } from '../run/index.ts'
import type { Session } from './session.ts'

/**
 * Text from the current parameters, wherever they lie: in this peer's trainer, or at the stages of a pipeline, through which each token goes. Throws
 * StarlingError 'not-a-data-peer' at a peer that only holds stages, 'not-ready' while stages are missing, and ModelError 'not-a-text-model'.
 */
export async function writeText(
  run: Run,
  { learner, strategy }: Session,
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<string> {
  if (run.cut === undefined) return learner.generate(options, signal)
  const { model, manifest } = run
  if (model.architecture !== 'decoder')
    throw new StarlingError('not-a-text-model', `a ${model.architecture} does not write text`)
  if (strategy.logits === undefined)
    throw new StarlingError('not-ready', `peers of strategy ${strategy.name} cannot write text while they train`)
  const logits = strategy.logits.bind(strategy)
  const generator = createGenerator(options.seed, `generate ${manifest.seed}`)
  return generateTextAsync(options, byteTokenizer, model.context, generator, (tokens) => logits([...tokens], signal))
}
