/** Takes out of a report what is nobody else's business. */
import { redact, redactText } from '../log/index.ts'

export interface MaskOptions {
  /** Folders that are called something else, the longest first: the data folder, the home folder. */
  folders: readonly (readonly [path: string, called: string])[]
  /** Also IP addresses and host names in multiaddrs and URLs; those of this very machine stay. */
  addresses: boolean
}

/** Keys whose values are texts of the model's users. */
const TEXTS = new Set(['prompt', 'text'])

/** What stands for a place in the network: after /ip4/ and the like, and the four numbers anywhere. */
const HOST = /(\/(?:ip4|ip6|dns|dns4|dns6|dnsaddr)\/)([^/\s"',]+)|(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d)/g

/** Addresses that say nothing of where a machine is. */
const LOCAL = /^(127\.|0\.0\.0\.0$|::1?$|localhost$)/

export interface Mask {
  text(text: string): string
  /** Plain data, texts of users left out. */
  value(value: unknown): unknown
}

/** One address gets the same stand-in everywhere, so that a report can still be followed. */
export function createMask({ folders, addresses }: MaskOptions): Mask {
  const names = new Map<string, string>() // as many as there are addresses in one report
  const standIn = (address: string): string => {
    if (LOCAL.test(address)) return address
    const known = names.get(address) ?? `address-${names.size + 1}`
    names.set(address, known)
    return known
  }
  const text = (given: string): string => {
    let masked = redactText(given)
    for (const [path, called] of folders) if (path.length > 1) masked = masked.replaceAll(path, called)
    if (!addresses) return masked
    return masked.replace(HOST, (whole, prefix: string | undefined, host: string | undefined) =>
      prefix === undefined ? standIn(whole) : `${prefix}${standIn(host as string)}`,
    )
  }
  const value = (given: unknown, name = ''): unknown => {
    if (TEXTS.has(name)) return '[left out]'
    if (typeof given === 'string') return text(given)
    if (Array.isArray(given)) return given.map((item) => value(item))
    if (typeof given === 'object' && given !== null)
      return Object.fromEntries(Object.entries(given).map(([key, item]) => [key, value(item, key)]))
    return given
  }
  return { text, value: (given) => value(redact(given)) }
}
