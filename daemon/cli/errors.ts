/** Which exit code an error means, and its one line. */
import { CommanderError } from 'commander'

/** 0: done. */
export const OK = 0
/** 1: the run failed. */
export const FAILED = 1
/** 2: the user asked for something that cannot be. */
export const MISTAKE = 2

/** Errors that the user can mend by asking for something else; everything else is a failure of the run. */
const MISTAKES = new Set([
  // Command line
  'usage',
  'unknown-file',
  'nothing-to-resume',
  'node-not-running',
  'swarm-running',
  'no-run',
  // API
  'port-in-use',
  'port-refused',
  'address-unavailable',
  'token-missing',
  'request-invalid',
  // Manifest and link
  'bad-manifest',
  'bad-link',
  'bad-run-log',
  'bad-scenario',
  'bad-option',
  'bad-address',
  'bad-identity',
  'bad-network',
  'unknown-network',
  'other-network',
  'bad-key',
  'key-missing',
  'key-needless',
  'not-admitted',
  'other-version',
  'other-run',
  // Data and models
  'not-text',
  'text-too-short',
  'too-few-images',
  'bad-gzip',
  'bad-idx',
  'bad-shard',
  'bad-safetensors',
  'bad-checkpoint',
  'bad-config',
  'bad-generation',
  'not-a-text-model',
  'memory-too-small',
  'engine-missing',
  'engine-unknown',
])

/** Families of codes about something that the user named. */
const MISTAKE_PATTERN = /^(file|folder|link|manifest|option|data|model|weights|checkpoint|safetensors|log|listen)-/

interface Coded {
  code: string
  message: string
}

const hasCode = (error: unknown): error is Coded =>
  error instanceof Error && typeof (error as { code?: unknown }).code === 'string'

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? OK : MISTAKE
  if (!hasCode(error)) return FAILED
  return MISTAKES.has(error.code) || MISTAKE_PATTERN.test(error.code) ? MISTAKE : FAILED
}

/** What the engine's own words leave out. */
const MEMORY_HINT =
  'this process is given too little memory or address space (ulimit -v, a container); starling doctor says how much there is'

/** The error in one line, without a stack. */
export function lineOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const line = text
    .replace(/^error:\s*/, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
  return error instanceof RangeError && /memory/i.test(line) ? `${line}: ${MEMORY_HINT}` : line
}

/** The code of an error for --json. */
export function codeOf(error: unknown): string {
  if (error instanceof CommanderError) return 'usage'
  return hasCode(error) ? error.code : 'internal'
}
