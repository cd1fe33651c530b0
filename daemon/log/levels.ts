/** How much is logged: one level for all, and others for single modules. */
import { StarlingError } from '../../protocols/index.ts'

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** From nothing to everything. */
export const LOG_LEVELS: readonly LogLevel[] = ['silent', 'error', 'warn', 'info', 'debug', 'trace']

/** Parts of the daemon that name themselves in their lines; everything else is the node. */
export const LOG_MODULES = ['api', 'network', 'trainer'] as const

export type LogModule = (typeof LOG_MODULES)[number]

export interface LogLevels {
  level: LogLevel
  /** Of single modules. */
  levels: Partial<Record<LogModule, LogLevel>>
}

/** Reads `info` or `info,network=debug`. Throws StarlingError 'bad-option' with what is allowed. */
export function parseLevels(text: string): LogLevels {
  const { level, ...levels } = Object.fromEntries(text.split(',').map(entry)) as Record<string, LogLevel>
  return { level: level ?? 'warn', levels }
}

function entry(part: string): [string, LogLevel] {
  const [left = '', right] = part.split('=').map((word) => word.trim())
  const [module, level] = right === undefined ? ['level', left] : [left, right]
  if (module !== 'level' && !LOG_MODULES.some((name) => name === module))
    throw new StarlingError('bad-option', `log level: ${module} is no module; there are ${LOG_MODULES.join(', ')}`)
  const known = LOG_LEVELS.find((name) => name === level)
  if (known === undefined)
    throw new StarlingError('bad-option', `log level: ${level} is none; there are ${LOG_LEVELS.join(', ')}`)
  return [module as string, known]
}

/** The more talkative of two levels. */
export const louder = (a: LogLevel, b: LogLevel): LogLevel => (LOG_LEVELS.indexOf(a) > LOG_LEVELS.indexOf(b) ? a : b)
