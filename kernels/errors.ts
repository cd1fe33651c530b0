/** A misuse of the kernels or a value they refuse; `code` is a stable word, `data` says where. */
export class KernelError extends Error {
  readonly code:
    | 'vector-unknown'
    | 'vector-type'
    | 'vector-foreign'
    | 'length-mismatch'
    | 'not-finite'
    | 'index-range'
    | 'not-built'
  readonly data: Record<string, unknown>

  constructor(code: KernelError['code'], message: string, data: Record<string, unknown> = {}) {
    super(message)
    this.name = 'KernelError'
    this.code = code
    this.data = data
  }
}
