export { createLogFile, type LogFile } from './file.ts'
export { LOG_LEVELS, LOG_MODULES, type LogLevel, type LogLevels, type LogModule, parseLevels } from './levels.ts'
export { createLog, type Log, type LogContext, type LogOptions, quietLog, shortName } from './log.ts'
export { redact, redactText } from './redact.ts'
