export { createLog, type Log, type LogContext, type LogLevel, type LogOptions, quietLog, shortName } from './log.ts'
