/** A router that was found, and what it is asked for. */
export interface Router {
  /** How it is spoken to. */
  protocol: 'NAT-PMP' | 'UPnP'
  /** Its address in this network. */
  host: string
  /** This machine's address in the same network: ports are forwarded to it alone. */
  localHost: string
  /** The address at which the world sees the router. Rejects with a 'router-silent' or 'router-refused' {@link StarlingError}. */
  externalHost(signal: AbortSignal): Promise<string>
  /**
   * Forwards a TCP port to the same port of this machine for a while, or goes on with it; `wanted` is the port outside that would be best. Resolves to
   * the port that it is. Rejects as {@link externalHost}.
   */
  map(port: number, wanted: number, seconds: number, signal: AbortSignal): Promise<number>
  /** Forwards it no longer. Rejects as {@link externalHost}. */
  unmap(port: number, outside: number, signal: AbortSignal): Promise<void>
  close(): void
}
