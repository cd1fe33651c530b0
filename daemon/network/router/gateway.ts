/** Where the router is: NAT-PMP is spoken with it directly, and nobody tells a program who it is. */
import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { isPrivateAddress, parseAddress } from '../addresses.ts'

/** Linux's table of routes: a line has interface, destination, gateway, flags, ... with addresses in hexadecimal, the last byte first. */
const ROUTES = '/proc/net/route'
/** Guesses at most. */
const MAX_GUESSES = 4

/** Private addresses at which the router may be: the gateway of the default route on Linux; elsewhere the first address of each network, which it mostly has. */
export async function likelyRouters(): Promise<string[]> {
  let routes: string | undefined
  try {
    routes = await readFile(ROUTES, 'utf8')
  } catch {
    // Not Linux.
  }
  const found = routes === undefined ? firstOfEachNetwork() : gatewaysIn(routes)
  return [...new Set(found)].filter((host) => isPrivateAddress(parseAddress(`/ip4/${host}`))).slice(0, MAX_GUESSES)
}

/** Gateways of the default routes in {@link ROUTES}. */
export function gatewaysIn(routes: string): string[] {
  return routes
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, gateway]) => destination === '00000000' && /^[0-9A-F]{8}$/i.test(gateway ?? ''))
    .map(([, , gateway]) => [...Buffer.from(gateway as string, 'hex')].reverse().join('.'))
    .filter((host) => host !== '0.0.0.0')
}

function firstOfEachNetwork(): string[] {
  const bytes = (text: string): number[] => text.split('.').map(Number)
  return Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address, netmask }) => {
      const mask = bytes(netmask)
      const network = bytes(address).map((byte, i) => byte & (mask[i] as number))
      return [...network.slice(0, 3), (network[3] as number) | 1].join('.')
    })
}
