import type { ModelConfig } from '../architectures/index.ts'
import { ModelError } from '../errors.ts'
import { splitBatch, validationParts } from '../trainer/microbatch.ts'
import type { Batch, Dataset } from '../types.ts'
import type { ModelCut } from './cut.ts'

/** Rows to work on: a microbatch of a training batch, a part of the validation data, or a text to be continued. */
export type StageSource =
  | { kind: 'training'; batch: number; microbatch: number }
  | { kind: 'validation'; part: number }
  | { kind: 'tokens'; tokens: readonly number[] }

export interface SourceOptions {
  model: ModelConfig
  cut: ModelCut
  dataset: Dataset
  /** Rows of the validation data that count. Default all. */
  validationRows?: number
}

/** The batches behind a peer's sources. Keeps the last training batch and the last validation part, because each is asked for twice: to be embedded and for its labels. */
export class Sources {
  private readonly options: SourceOptions
  private training: { number: number; parts: readonly Batch[] } | undefined
  private validation: { part: number; batch: Batch; rest: Iterator<Batch> } | undefined
  private count: number | undefined

  constructor(options: SourceOptions) {
    this.options = options
  }

  /** Parts of the validation data. */
  get validationParts(): number {
    if (this.count === undefined) {
      this.count = 0
      for (const _ of this.walk()) this.count++
    }
    return this.count
  }

  /** @throws ModelError 'bad-source' for a microbatch, a part or a number of tokens that does not exist, 'not-a-text-model' */
  batch(source: StageSource): Batch {
    switch (source.kind) {
      case 'training':
        return this.microbatch(source.batch, source.microbatch)
      case 'validation':
        return this.part(source.part)
      case 'tokens':
        return this.text(source.tokens)
    }
  }

  private microbatch(number: number, index: number): Batch {
    const { dataset, cut } = this.options
    if (this.training?.number !== number) {
      this.training = { number, parts: splitBatch(dataset.batch(number, cut.rows * cut.microbatches), cut.rows) }
    }
    return this.training.parts[index] ?? refuse('microbatch', index, `from 0 to ${cut.microbatches - 1}`)
  }

  private part(part: number): Batch {
    if (!Number.isInteger(part) || part < 0 || part >= this.validationParts) {
      return refuse('validation part', part, `from 0 to ${this.validationParts - 1}`)
    }
    let at = this.validation
    if (at === undefined || at.part > part) {
      const rest = this.walk()
      at = { part: 0, batch: next(rest), rest }
    }
    while (at.part < part) at = { part: at.part + 1, batch: next(at.rest), rest: at.rest }
    this.validation = at
    return at.batch
  }

  /** One row, padded to the full context: later tokens do not change earlier logits, and one shape needs one set of tables. */
  private text(tokens: readonly number[]): Batch {
    const { model } = this.options
    if (model.architecture !== 'decoder') {
      throw new ModelError('not-a-text-model', `a ${model.architecture} does not read text`, {
        architecture: model.architecture,
      })
    }
    const { context } = model
    if (tokens.length === 0 || tokens.length > context)
      return refuse('number of tokens', tokens.length, `from 1 to ${context}`)
    const inputs = new Int32Array(context)
    inputs.set(tokens)
    return { kind: 'text', rows: 1, context, inputs, targets: inputs }
  }

  private walk(): Iterator<Batch> & Iterable<Batch> {
    const { dataset, cut, validationRows } = this.options
    return validationParts(dataset, cut.rows, validationRows)
  }
}

/** The next of an iterator that is known to have one. */
function next(rest: Iterator<Batch>): Batch {
  return rest.next().value as Batch
}

function refuse(what: string, value: number, allowed: string): never {
  throw new ModelError('bad-source', `the ${what} is ${value}; it must be ${allowed}`, { what, value, allowed })
}
