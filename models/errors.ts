/**
 * The error class of `models/`, with the same two fields as StarlingError: `code` is a stable word in kebab case, `data` says what and
 * where. The daemon turns it into a StarlingError; nobody matches on the message.
 */
export class ModelError extends Error {
  readonly code: string
  readonly data: Record<string, unknown>

  constructor(code: string, message: string, data: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ModelError'
    this.code = code
    this.data = data
  }
}
