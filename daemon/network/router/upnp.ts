/**
 * UPnP's Internet Gateway Device, versions 1 and 2: asks a router over HTTP for its public address and for ports (WANIPConnection:1, sections 2.4.16 to 2.4.18;
 * WANPPPConnection has the same actions).
 */
import { StarlingError } from '../../../protocols/index.ts'
import type { Found } from './ssdp.ts'
import type { Router } from './types.ts'

const SERVICES = /^urn:schemas-upnp-org:service:(WANIPConnection:[12]|WANPPPConnection:1)$/
/** One question, milliseconds: routers are slow. */
const TIMEOUT = 5_000
/** A description has some ten kilobytes, an answer less than one. */
const MAX_TEXT = 128 * 1024
/** Errors of AddPortMapping, section 2.4.16. */
const CONFLICT = '718'
const ONLY_PERMANENT = '725'
/** Ports outside that are tried when somebody else has the one that is wanted. */
const MAX_PORTS = 4

/** The router at a description. Rejects with 'router-silent' or 'router-refused'. */
export async function upnpRouter({ location, localHost }: Found, signal: AbortSignal): Promise<Router> {
  const host = location.hostname
  const service = serviceIn(await ask(location, {}, signal), location)
  if (service === undefined) throw refused(host, 'it offers no forwarding of ports')
  const { control, type } = service

  const act = async (action: string, given: Record<string, string | number>, stop: AbortSignal): Promise<string> => {
    const fields = Object.entries(given).map(([name, value]) => `<${name}>${value}</${name}>`)
    const body = `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">
<s:Body><u:${action} xmlns:u="${type}">${fields.join('')}</u:${action}></s:Body></s:Envelope>`
    const headers = { 'content-type': 'text/xml; charset="utf-8"', soapaction: `"${type}#${action}"` }
    return ask(control, { method: 'POST', headers, body }, stop)
  }

  const map = async (port: number, wanted: number, seconds: number, stop: AbortSignal): Promise<number> => {
    let outside = wanted
    let life = seconds
    for (let attempt = 1; ; attempt++) {
      try {
        await act(
          'AddPortMapping',
          {
            NewRemoteHost: '',
            NewExternalPort: outside,
            NewProtocol: 'TCP',
            NewInternalPort: port,
            NewInternalClient: localHost,
            NewEnabled: 1,
            NewPortMappingDescription: 'starling',
            NewLeaseDuration: life,
          },
          stop,
        )
        return outside
      } catch (error) {
        const code = error instanceof StarlingError ? error.data.upnp : undefined
        if (attempt >= MAX_PORTS || (code !== CONFLICT && code !== ONLY_PERMANENT)) throw error
        // A router that forwards for ever only is told to stop when the node does.
        if (code === ONLY_PERMANENT) life = 0
        else outside = outside < 65_000 ? outside + 1 : 1_024
      }
    }
  }

  return {
    protocol: 'UPnP',
    host,
    localHost,
    async externalHost(stop) {
      const text = field(await act('GetExternalIPAddress', {}, stop), 'NewExternalIPAddress')
      if (text === undefined || !/^\d+(\.\d+){3}$/.test(text)) throw refused(host, 'it has no address itself')
      return text
    },
    map,
    async unmap(_port, outside, stop) {
      await act('DeletePortMapping', { NewRemoteHost: '', NewExternalPort: outside, NewProtocol: 'TCP' }, stop)
    },
    close() {},
  }
}

/** A question and its answer. Errors that the router describes are 'router-refused' with its code in `upnp`. */
async function ask(url: URL, init: RequestInit, signal: AbortSignal): Promise<string> {
  const host = url.hostname
  let status: number
  let text: string
  try {
    const response = await fetch(url, {
      ...init,
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    })
    status = response.status
    text = await bounded(response)
  } catch (error) {
    signal.throwIfAborted()
    throw new StarlingError('router-silent', `${host} does not answer UPnP`, { router: host }, { cause: error })
  }
  if (status === 200) return text
  const upnp = field(text, 'errorCode') ?? `HTTP ${status}`
  throw refused(host, `${field(text, 'errorDescription') ?? 'it answers with an error'} (${upnp})`, upnp)
}

async function bounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > MAX_TEXT) throw new Error(`more than ${MAX_TEXT} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

/** The service that forwards ports, of those in a description. */
export function serviceIn(description: string, location: URL): { type: string; control: URL } | undefined {
  const base = field(description, 'URLBase')
  for (const [, service = ''] of description.matchAll(/<service>(.*?)<\/service>/gs)) {
    const type = field(service, 'serviceType')
    const path = field(service, 'controlURL')
    if (type === undefined || path === undefined || !SERVICES.test(type)) continue
    const from = base !== undefined && URL.canParse(base) ? base : location.href
    if (!URL.canParse(path, from)) continue
    const control = new URL(path, from)
    // Nobody else is asked than who answered.
    if (control.protocol === 'http:' && control.hostname === location.hostname) return { type, control }
  }
  return undefined
}

/** Text of the first element of that name, at most a line of it. */
function field(text: string, name: string): string | undefined {
  const found = new RegExp(`<(?:\\w+:)?${name}(?:\\s[^>]*)?>([^<]{1,200})<`).exec(text)?.[1]?.trim()
  // It may end in a log or on a terminal.
  return found === undefined || found === '' ? undefined : found.replace(/[^\x20-\x7e]/g, '?')
}

const refused = (host: string, why: string, upnp?: string): StarlingError =>
  new StarlingError('router-refused', `the router at ${host} refuses (UPnP): ${why}`, {
    router: host,
    ...(upnp === undefined ? {} : { upnp }),
  })
