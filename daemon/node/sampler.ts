import type { GenerateOptions } from '../../models/index.ts'
import type { Log } from '../log/index.ts'
import type { Run } from '../run/index.ts'
import type { DaemonEvent } from '../types.ts'

/** Shortest time between two samples, milliseconds: writing one costs the trainer about a second. */
const SAMPLE_INTERVAL = 60_000

/** Tokens of a sample: a few sentences; fewer where each goes through the machines of a pipeline. */
const SAMPLE_TOKENS = 160
const PIPELINE_TOKENS = 80

export interface Sampler {
  /** An evaluation is done: time to see what the model writes, now and then. Never throws. */
  evaluated(step: number): void
}

/** Writes a sample of text at evaluations; undefined for models that write none. */
export function createSampler(
  run: Run,
  modules: {
    write(options: GenerateOptions): Promise<string>
    emit(event: DaemonEvent): void
    log: Log
    now(): number
  },
): Sampler | undefined {
  if (run.facts.kind !== 'text') return undefined
  const { write, emit, log, now } = modules
  const tokens = run.cut === undefined ? SAMPLE_TOKENS : PIPELINE_TOKENS
  const prompt = run.manifest.data.source === 'stories' ? 'One day, ' : '\n'
  let notBefore = Number.NEGATIVE_INFINITY
  return {
    evaluated(step) {
      if (now() < notBefore) return
      notBefore = now() + SAMPLE_INTERVAL
      write({ prompt, tokens, temperature: 0.8, topK: 40, seed: step }).then(
        (text) => emit({ kind: 'sample', step, prompt, text }),
        (error: unknown) => log.debug('a sample could not be written', {}, error),
      )
    },
  }
}
