/** What a command writes: lines for people, or one JSON object a line with the summary last. */
import { Writable } from 'node:stream'

export interface Output {
  readonly json: boolean
  /** People look at a terminal that can be drawn on. */
  readonly live: boolean
  /** A line for people. */
  line(text?: string): void
  /** A JSON line on the way; nothing for people. */
  record(record: Record<string, unknown>): void
  /** The last JSON line; nothing for people. */
  summary(summary: Record<string, unknown>): void
  /** A line for people that is no result: progress, hints, errors. */
  note(text: string): void
}

export interface Streams {
  out: NodeJS.WritableStream & { isTTY?: boolean }
  err: NodeJS.WritableStream & { isTTY?: boolean }
}

/** Makes the output of one command. */
export function createOutput(json: boolean, streams: Streams = { out: process.stdout, err: process.stderr }): Output {
  const write = (stream: NodeJS.WritableStream, text: string): void => {
    stream.write(`${text}\n`)
  }
  return {
    json,
    live: !json && streams.out.isTTY === true && process.env.TERM !== 'dumb' && process.env.CI === undefined,
    line: (text = '') => {
      if (!json) write(streams.out, text)
    },
    record: (record) => {
      if (json) write(streams.out, JSON.stringify(record))
    },
    summary: (summary) => {
      if (json) write(streams.out, JSON.stringify({ kind: 'summary', ...summary }))
    },
    note: (text) => write(json ? streams.err : streams.out, text),
  }
}

/** Characters that a terminal could take for commands; peers' texts lose them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/** Text of a stranger, safe to print. */
export function plain(text: string): string {
  return text.replace(CONTROL, '')
}

/** Columns padded to their widest cell; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map((row) => row.map(String))]
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const right = head.map(
    (_, column) =>
      rows.length > 0 && rows.every((row) => /^([–-]|[-+]?[\d.,]+( ?\S{1,5})?)?$/.test(String(row[column] ?? ''))),
  )
  return cells
    .map((row) =>
      row
        .map((cell, column) =>
          right[column] ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A stream that goes nowhere. */
export function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() })
}
