/**
 * The one error class of Starling below the command line. `code` is a stable word in kebab case, `data` says what and where; a log line
 * and a metric's label come from the same two fields. Never match on the message.
 */
export class StarlingError extends Error {
  readonly code: string
  readonly data: Record<string, unknown>

  constructor(code: string, message: string, data: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StarlingError'
    this.code = code
    this.data = data
  }
}
