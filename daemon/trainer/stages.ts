import { type ModelCut, momentNames, type StageTrainer, type TrainingConfig } from '../../models/index.ts'
import type { StageLearner } from '../../protocols/index.ts'
import type { StageCall, StageOperation, TrainerCall } from './messages.ts'

/** The stages of a peer of a pipeline, of which the trainer thread does the work. Calls are done in the order in which they are made. */
export function createStages(
  { cut, training }: { cut: ModelCut; training: TrainingConfig },
  request: <Result>(call: TrainerCall, signal?: AbortSignal) => Promise<Result>,
): StageLearner {
  const call = <Name extends StageOperation>(
    name: Name,
    signal: AbortSignal | undefined,
    ...args: Parameters<StageTrainer[Name]>
  ): Promise<ReturnType<StageTrainer[Name]>> =>
    request({ method: `stage ${name}`, arguments: args } as unknown as StageCall, signal)
  return {
    cut,
    moments: momentNames(training),
    validationParts: () => call('validationParts', undefined),
    hold: (place, stage, fresh) => call('hold', undefined, place, stage, fresh),
    initial: (part, place, signal) => call('initial', signal, part, place),
    embed: (source, slot) => call('embed', undefined, source, slot),
    forward: (place, rows, slot) => call('forward', undefined, place, rows, slot),
    loss: (source, accumulator) => call('loss', undefined, source, accumulator),
    backward: (slot, accumulator) => call('backward', undefined, slot, accumulator),
    drop: (slot) => call('drop', undefined, slot),
    clear: (place, accumulator) => call('clear', undefined, place, accumulator),
    step: (place, accumulator, options) => call('step', undefined, place, accumulator, options),
    logits: (row) => call('logits', undefined, row),
  }
}

/** Does one call in the trainer thread. */
export function answerStageCall(call: StageCall, trainer: StageTrainer): unknown {
  const operation = trainer[call.method.slice('stage '.length) as StageOperation]
  return (operation as (...args: readonly unknown[]) => unknown).apply(trainer, call.arguments)
}
