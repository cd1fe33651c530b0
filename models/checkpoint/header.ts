/**
 * The header of a safetensors file, read as hostile text. JSON.parse would take duplicate names, deep nesting and numbers that are no
 * integers in silence; this parser takes exactly the format and says where it stopped.
 *
 * Format (github.com/huggingface/safetensors): a table from tensor names to {dtype, shape, data_offsets}, and `__metadata__`, a table
 * of strings.
 */
import { ModelError } from '../errors.ts'

/** Bytes per element of the types that are read. */
export const DTYPES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const

export type Dtype = keyof typeof DTYPES

/** Most dimensions of a tensor. */
export const MAX_RANK = 8

export interface HeaderEntry {
  name: string
  dtype: Dtype
  shape: number[]
  /** Bytes [from, to) after the header. */
  from: number
  to: number
}

export interface Header {
  /** In the order of their bytes. */
  tensors: HeaderEntry[]
  metadata: Record<string, string>
}

/**
 * Parses and checks a header against the number of bytes that follow it: types known, sizes fitting shapes, tensors side by side from the
 * first byte to the last, no name twice.
 * @throws ModelError 'bad-safetensors' with the file and the place.
 */
export function parseHeader(text: string, dataBytes: number, file: string): Header {
  const reader = new Reader(text, file)
  const tensors: HeaderEntry[] = []
  let metadata: Record<string, string> = {}
  reader.table((name) => {
    if (name === '__metadata__') {
      metadata = Object.create(null) as Record<string, string>
      reader.table((key) => {
        metadata[key] = reader.string()
      })
      return
    }
    tensors.push(readTensor(reader, name))
  })
  reader.end()
  tensors.sort((a, b) => a.from - b.from || a.to - b.to)
  let end = 0
  let last = ''
  for (const { name, from, to } of tensors) {
    if (from !== end) {
      const what = from < end ? `overlaps ${JSON.stringify(last)}` : `leaves ${from - end} bytes before it unused`
      throw fault(file, `tensor ${JSON.stringify(name)} (bytes ${from} to ${to}) ${what}`, { tensor: name, from, to })
    }
    end = to
    last = name
    if (end > dataBytes) {
      const message = `tensor ${JSON.stringify(name)} ends at byte ${to}, but only ${dataBytes} bytes follow the header`
      throw fault(file, message, { tensor: name, from, to })
    }
  }
  if (end !== dataBytes) throw fault(file, `${dataBytes - end} bytes after the last tensor`, { end, dataBytes })
  return { tensors, metadata: { ...metadata } }
}

function readTensor(reader: Reader, name: string): HeaderEntry {
  let dtype: string | undefined
  let shape: number[] | undefined
  let offsets: number[] | undefined
  reader.table((key) => {
    if (key === 'dtype') dtype = reader.string()
    else if (key === 'shape') shape = reader.integers(MAX_RANK)
    else if (key === 'data_offsets') offsets = reader.integers(2)
    else throw reader.fault(`tensor ${JSON.stringify(name)} has the unknown key ${JSON.stringify(key.slice(0, 40))}`)
  })
  const missing = dtype === undefined ? 'dtype' : shape === undefined ? 'shape' : 'data_offsets'
  if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
    throw reader.fault(`tensor ${JSON.stringify(name)} has no ${missing} of the right form`)
  }
  if (!Object.hasOwn(DTYPES, dtype)) {
    const known = Object.keys(DTYPES).join(', ')
    throw reader.fault(
      `tensor ${JSON.stringify(name)} has the unknown dtype ${JSON.stringify(dtype.slice(0, 40))}; known are ${known}`,
    )
  }
  const [from, to] = offsets as [number, number]
  let size: number = DTYPES[dtype as Dtype]
  // Compared after every factor, so that the product stays a safe integer; a factor of 0 makes it 0 for good.
  for (const side of shape.includes(0) ? [0] : shape) {
    size *= side
    if (size > to - from) break
  }
  if (from > to || size !== to - from) {
    const message = `tensor ${JSON.stringify(name)} of ${dtype} [${shape.join(', ')}] does not fill its bytes ${from} to ${to}`
    throw reader.fault(message)
  }
  return { name, dtype: dtype as Dtype, shape, from, to }
}

/** An error that names the file. */
export function fault(
  file: string,
  what: string,
  data: Record<string, unknown> = {},
  options?: ErrorOptions,
): ModelError {
  return new ModelError(
    'bad-safetensors',
    `${file} is not a safetensors file that can be read: ${what}`,
    { file, ...data },
    options,
  )
}

/** Reads the three things that a header is made of, and never deeper than they go. */
class Reader {
  readonly text: string
  readonly file: string
  at = 0

  constructor(text: string, file: string) {
    this.text = text
    this.file = file
  }

  fault(what: string): ModelError {
    return fault(this.file, `${what} (character ${this.at} of the header)`, { offset: this.at })
  }

  /** {"key": value, ...} with every key once; `value` reads one value. */
  table(value: (key: string) => void): void {
    this.take('{')
    const seen = new Set<string>()
    if (this.peek() === '}') {
      this.at++
      return
    }
    for (;;) {
      const key = this.string()
      if (seen.has(key)) throw this.fault(`the name ${JSON.stringify(key.slice(0, 80))} twice`)
      seen.add(key)
      this.take(':')
      value(key)
      if (this.peek() === '}') {
        this.at++
        return
      }
      this.take(',')
    }
  }

  /** [1, 2, ...] of at most `most` whole numbers from 0 to 2^53 − 1. */
  integers(most: number): number[] {
    this.take('[')
    const numbers: number[] = []
    if (this.peek() === ']') {
      this.at++
      return numbers
    }
    for (;;) {
      this.peek()
      const digits = /^(?:0|[1-9][0-9]{0,15})(?![0-9.eE+-])/.exec(this.text.slice(this.at, this.at + 18))?.[0]
      const number = Number(digits)
      if (digits === undefined || !Number.isSafeInteger(number)) throw this.fault('no whole number')
      if (numbers.length === most) throw this.fault(`a list of more than ${most} numbers`)
      numbers.push(number)
      this.at += digits.length
      if (this.peek() === ']') {
        this.at++
        return numbers
      }
      this.take(',')
    }
  }

  string(): string {
    if (this.peek() !== '"') throw this.fault('no string')
    const start = this.at
    for (let at = start + 1; at < this.text.length; at++) {
      const sign = this.text[at]
      if (sign === '\\') at++
      else if (sign === '"') {
        try {
          const value = JSON.parse(this.text.slice(start, at + 1)) as string
          this.at = at + 1
          return value
        } catch (error) {
          throw fault(
            this.file,
            `a string that is not JSON (character ${start} of the header)`,
            { offset: start },
            { cause: error },
          )
        }
      }
    }
    throw this.fault('a string without an end')
  }

  end(): void {
    if (this.peek() !== undefined) throw this.fault('more after the end of the table')
  }

  private peek(): string | undefined {
    while (' \n\r\t'.includes(this.text[this.at] ?? 'x')) this.at++
    return this.text[this.at]
  }

  private take(sign: string): void {
    if (this.peek() !== sign) throw this.fault(`no ${sign}`)
    this.at++
  }
}
