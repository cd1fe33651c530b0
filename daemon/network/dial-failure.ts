/** Why a dial came to nothing, in words. */

/** What the system says, by its code. */
const SYSTEM: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'it broke off the connection: it takes no more of them now, or was too busy for the handshake',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ENOTFOUND: 'that name is not known',
  EAI_AGAIN: 'that name cannot be looked up now',
  ETIMEDOUT: 'no answer in time',
}

/** What libp2p says, by the name of its error. */
const LIBP2P: Readonly<Record<string, string>> = {
  TimeoutError: 'no answer in time',
  UnexpectedPeerError: 'another peer answers there',
  ConnectionDeniedError: 'this node refuses that peer',
  ConnectionInterceptedError: 'this node refuses that peer',
  DialDeniedError: 'this node refuses that peer',
  NoValidAddressesError: 'there is no address that can be dialled',
  EncryptionFailedError: 'it closed the connection during the handshake',
  UnexpectedEOFError: 'it closed the connection: it may refuse this peer',
  MuxerUnavailableError: 'it closed the connection: it may refuse this peer',
  StreamResetError: 'it closed the connection: it may refuse this peer',
}

/** Of another key than that of the address libp2p keeps noise's words only. */
const OTHER_KEY = /does not match expected remote identity key/

/** How deep errors are looked into: libp2p wraps what the system says once or twice. */
const DEPTH = 5

/** The innermost reason of a failed dial that people know what to do about, else the error's own words, in one line. */
export function dialFailure(error: unknown): string {
  return known(error, DEPTH) ?? String(error instanceof Error ? error.message : error).replaceAll(/\s+/g, ' ')
}

function known(error: unknown, depth: number): string | undefined {
  if (!(error instanceof Error) || depth === 0) return undefined
  const inner = [...(error instanceof AggregateError ? error.errors : []), error.cause]
  for (const one of inner) {
    const reason = known(one, depth - 1)
    if (reason !== undefined) return reason
  }
  if (OTHER_KEY.test(error.message)) return LIBP2P.UnexpectedPeerError
  const { code } = error as { code?: unknown }
  return (typeof code === 'string' ? SYSTEM[code] : undefined) ?? LIBP2P[error.name]
}
