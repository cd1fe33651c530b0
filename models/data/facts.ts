/** What a model must know about the data it reads, known from the run alone, without opening a file. */
import { byteTokenizer } from '../tokenizers/bytes.ts'
import { DIGIT_CLASSES, DIGIT_SIDE } from './digits-size.ts'
import type { DataSpec } from './spec.ts'

export type DataFacts =
  | { kind: 'text'; vocabulary: number }
  | { kind: 'image'; height: number; width: number; channels: number; classes: number }

/** The facts about the data of a run. */
export function dataFacts(data: DataSpec): DataFacts {
  switch (data.source) {
    case 'stories':
    case 'text':
      return { kind: 'text', vocabulary: byteTokenizer.size }
    case 'digits':
      return { kind: 'image', height: DIGIT_SIDE, width: DIGIT_SIDE, channels: 1, classes: DIGIT_CLASSES }
    case 'images':
      return { kind: 'image', height: data.height, width: data.width, channels: 1, classes: data.classes }
  }
}
