/** SSDP (UPnP Device Architecture 1.1, section 1.3): asks the local network by multicast who is a router, and hears where its description lies. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { networkInterfaces } from 'node:os'

const GROUP = '239.255.255.250'
const PORT = 1900
/** Both versions of the device: many routers know the first one only. */
const DEVICES = [1, 2].map((version) => `urn:schemas-upnp-org:device:InternetGatewayDevice:${version}`)
/** When the question is sent, milliseconds: datagrams get lost, and routers sleep. */
const SENDINGS = [0, 400, 1_200]
/** Longest that a router may take for its answer, seconds. */
const MAX_DELAY = 1
/** An answer is a few lines, bytes. */
const MAX_ANSWER = 4 * 1024
/** Descriptions that are looked at; anybody in the network may answer. */
const MAX_FOUND = 4

/** A description of a router, and this machine's address in the router's network. */
export interface Found {
  location: URL
  localHost: string
}

/** Asks until somebody was found and the search's time is over, or the signal aborts. Calls `found` for each answer of use; never rejects. */
export async function searchRouters(found: (found: Found) => void, signal: AbortSignal): Promise<void> {
  const seen = new Set<string>()
  const hosts = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address }) => address)
  const sockets = hosts.map((localHost) => {
    const socket = createSocket('udp4')
    // An interface without multicast finds nobody.
    socket.on('error', () => {})
    socket.on('message', (message, from) => {
      const location = locationIn(message, from)
      if (location === undefined || seen.has(location.href) || seen.size >= MAX_FOUND) return
      seen.add(location.href)
      found({ location, localHost })
    })
    socket.bind(0, localHost)
    return socket
  })
  const timers = SENDINGS.map((after) => setTimeout(() => sockets.forEach(ask), after))
  await new Promise<void>((resolve) => {
    timers.push(setTimeout(resolve, (SENDINGS.at(-1) as number) + MAX_DELAY * 1_000 + 500))
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  for (const timer of timers) clearTimeout(timer)
  for (const socket of sockets) socket.close()
}

function ask(socket: Socket): void {
  for (const device of DEVICES) {
    const lines = [
      'M-SEARCH * HTTP/1.1',
      `HOST: ${GROUP}:${PORT}`,
      'MAN: "ssdp:discover"',
      `MX: ${MAX_DELAY}`,
      `ST: ${device}`,
    ]
    // What cannot be sent there is no way to a router.
    socket.send(`${lines.join('\r\n')}\r\n\r\n`, PORT, GROUP, () => {})
  }
}

/** Where the answerer's description lies: on that very machine, or this node could be made to ask another. */
export function locationIn(message: Buffer, from: Pick<RemoteInfo, 'address'>): URL | undefined {
  if (message.length > MAX_ANSWER) return undefined
  const text = message.toString('latin1')
  const device = /^st:\s*(\S+)\s*$/im.exec(text)?.[1]
  const location = /^location:\s*(\S+)\s*$/im.exec(text)?.[1]
  if (!text.startsWith('HTTP/1.1 200') || device === undefined || !DEVICES.includes(device)) return undefined
  if (location === undefined || !URL.canParse(location)) return undefined
  const url = new URL(location)
  return url.protocol === 'http:' && url.hostname === from.address ? url : undefined
}
