/** Keeps secrets out of what is written: tokens of the API, keys, and passwords in addresses. */

/** Names of values that are secret whatever they hold. */
const SECRET = /^(api-?)?(token|password|passphrase|secret|authorization|cookie|(private|pre-?shared|swarm)-?key|psk)$/i

/** Secrets inside longer texts, with what stays of them. */
const INSIDE: readonly [RegExp, string][] = [
  [/([?&](?:token|key|psk)=)[^&\s"']+/gi, '$1[redacted]'],
  [/(\bBearer\s+)\S+/gi, '$1[redacted]'],
  [/(\bstarling_token=)[^;\s"']+/gi, '$1[redacted]'],
  [/(\bhttps?:\/\/[^/\s:@]+:)[^@\s/]+@/gi, '$1[redacted]@'],
  [/(--(?:api-token|token|psk)(?:=|\s+))\S+/gi, '$1[redacted]'],
  // 32 bytes as a pre-shared key is written (/key/swarm/psk/1.0.0/, then base16 and the key).
  [/(\/key\/swarm\/psk\/[\s\S]{0,24}?)[0-9a-f]{64}/gi, '$1[redacted]'],
  // A private key of libp2p in base64: protobuf of type Ed25519 and 64 bytes.
  [/\bCAESQ[A-Za-z0-9+/]{80,}={0,2}/g, '[redacted]'],
]

/** The text without secrets. */
export function redactText(text: string): string {
  return INSIDE.reduce((rest, [secret, kept]) => rest.replace(secret, kept), text)
}

/** A value under that name without secrets; arrays and plain objects all the way down. */
export function redact(value: unknown, name = ''): unknown {
  if (SECRET.test(name)) return value === undefined || value === null ? value : '[redacted]'
  if (typeof value === 'string') return redactText(value)
  if (Array.isArray(value)) return value.map((item) => redact(item))
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redact(item, key)]))
  return value
}
