import { pino } from 'pino'
import { prettyFactory } from 'pino-pretty'
import type { LogFile } from './file.ts'
import { type LogLevel, type LogModule, louder } from './levels.ts'
import { redact } from './redact.ts'

/** Key=value data of one line; never put it into the message. */
export type LogContext = Record<string, unknown>

/** What every part of the daemon logs through: a constant message, data beside it, and the error if there is one. */
export interface Log {
  error(message: string, context?: LogContext, error?: unknown): void
  warn(message: string, context?: LogContext, error?: unknown): void
  info(message: string, context?: LogContext): void
  debug(message: string, context?: LogContext, error?: unknown): void
  /** The same log for a part of the daemon, named in each line; its level comes from {@link LogOptions.levels}. */
  child(module: LogModule): Log
}

export interface LogOptions {
  /** `human` is for a terminal or a file read by people, `json` is one object a line. */
  format: 'human' | 'json'
  level: LogLevel
  /** Levels of single modules, e.g. { network: 'debug' }. */
  levels?: Partial<Record<LogModule, LogLevel>>
  /** Where the lines go; standard error when left out. */
  destination?: { write(line: string): unknown }
  /** Keeps lines of JSON as well, of level info at least. */
  file?: LogFile
  /** Colours in the human format. Default: when standard error is a terminal. */
  colour?: boolean
}

/** Characters of a peer id that people see: the tail, because all Ed25519 peer ids begin alike. */
const SHORT_NAME_LENGTH = 6

/** A peer id as people see it in the log and on the page. */
export function shortName(peer: string): string {
  return peer.length > SHORT_NAME_LENGTH ? peer.slice(-SHORT_NAME_LENGTH) : peer
}

/** The whole of a libp2p peer id in base58, as it appears inside longer texts. */
const PEER_ID = /12D3Koo[1-9A-HJ-NP-Za-km-z]{45}/g

/** Shortens every peer id in the values of a line; the full ids are in the API and in the events. */
function shorten(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(PEER_ID, shortName)
  if (Array.isArray(value)) return value.map(shorten)
  return value
}

/** What of an error belongs in a line: its code and message always, its stack only where someone debugs. */
function describe(error: unknown, withStack: boolean): LogContext {
  if (error === undefined) return {}
  if (!(error instanceof Error)) return { error: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
  return { error: error.message, ...code, ...(withStack ? { stack: error.stack } : {}) }
}

/** One place that lines go to. */
interface Sink {
  logger: pino.Logger
  /** The least level of a module's lines there. */
  levelOf(module: LogModule): LogLevel
}

/** Level of the lines that are kept in a file whatever is shown: what happened, without every step. */
const FILE_LEVEL: LogLevel = 'info'

/** Makes the log of one process: pino, as JSON or through pino-pretty, and into a file. Secrets are left out everywhere. */
export function createLog(options: LogOptions): Log {
  const { level, levels = {}, file } = options
  const sinks: Sink[] = [{ logger: shown(options), levelOf: (module) => levels[module] ?? level }]
  if (file !== undefined) {
    const kept = (wanted: LogLevel): LogLevel => louder(wanted, FILE_LEVEL)
    const logger = pino({ level: kept(level), base: null }, file)
    sinks.push({ logger, levelOf: (module) => kept(levels[module] ?? level) })
  }
  return wrap(sinks)
}

/** What people or a collector of logs read. */
function shown(options: LogOptions): pino.Logger {
  const destination = options.destination ?? process.stderr
  const prettify = prettyFactory({
    colorize: options.colour ?? (options.destination === undefined && process.stderr.isTTY === true),
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,module',
    messageFormat: (line, key) => `${line.module ? `[${String(line.module)}] ` : ''}${String(line[key])}`,
    singleLine: true,
    // One line an event: the message of an error stands beside the other data.
    errorLikeObjectKeys: [],
  })
  const sink =
    options.format === 'json' ? destination : { write: (line: string) => destination.write(prettify(line) ?? line) }
  return pino({ level: options.level, base: null }, sink as pino.DestinationStream)
}

function wrap(sinks: readonly Sink[]): Log {
  const line =
    (level: 'error' | 'warn' | 'info' | 'debug') =>
    (message: string, context: LogContext = {}, error?: unknown): void => {
      for (const { logger } of sinks) {
        if (!logger.isLevelEnabled(level)) continue
        const data: LogContext = {}
        const described = describe(error, logger.isLevelEnabled('debug'))
        for (const [key, value] of Object.entries({ ...context, ...described })) data[key] = shorten(redact(value, key))
        logger[level](data, message)
      }
    }
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    child(module) {
      return wrap(
        sinks.map(({ logger, levelOf }) => ({
          logger: logger.child({ module }, { level: levelOf(module) }),
          levelOf,
        })),
      )
    },
  }
}

/** A log that keeps nothing, for tests and for commands that print their own lines. */
export const quietLog: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => quietLog,
}
