/**
 * Routers that forward ports for the machines behind them: miniupnpd, the program that most home routers run, in a router's namespace. Its questions and answers, multicast
 * among them, stay in the lab.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Programs and the Debian package that brings each; a scenario with routers that forward names them in `needs`. */
export const ROUTER_PROGRAMS = { miniupnpd: 'miniupnpd-nftables', nft: 'nftables' }

/** Tables that miniupnpd writes its rules into. */
const TABLES = `
table inet filter {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
`

/** What the router speaks: UPnP in its first version, which is all that many have, or NAT-PMP. */
const SPEAKS = {
  upnp: ['enable_upnp=yes', 'enable_natpmp=no', 'force_igd_desc_v1=yes'],
  'nat-pmp': ['enable_upnp=no', 'enable_natpmp=yes'],
}

/**
 * Lets the router of a home forward ports when a machine of the home asks, those of `refuses` left out. `forwarded` tells which it forwards now, as ADDRESS:PORT.
 * @param {{topology: any, crew: any, folder: string}} lab
 * @param {'a' | 'b'} home
 * @param {{speaks: keyof typeof SPEAKS, refuses?: string[]}} options
 */
export function letForward({ topology, crew, folder }, home, { speaks, refuses = [] }) {
  const router = `router-${home}`
  const [tables, settings] = ['nft', 'conf'].map((ending) => join(folder, `${router}.${ending}`))
  writeFileSync(tables, TABLES)
  topology.inside(router, 'nft', '-f', tables)
  // Beside what answers, what is forwarded comes in.
  topology.inside(
    router,
    'iptables',
    '-A',
    'FORWARD',
    '-i',
    'outside',
    '-m',
    'conntrack',
    '--ctstate',
    'DNAT',
    '-j',
    'ACCEPT',
  )
  const lines = [
    'ext_ifname=outside',
    'listening_ip=bridge',
    'ipv6_disable=yes',
    'secure_mode=yes',
    ...SPEAKS[speaks],
    ...refuses.map((host) => `deny 0-65535 ${topology.addressOf(host)}/32 0-65535`),
    'allow 1024-65535 0.0.0.0/0 1024-65535',
  ]
  writeFileSync(settings, `${lines.join('\n')}\n`)
  crew.help(
    router,
    ['miniupnpd', '-d', '-f', settings, '-P', join(folder, `${router}.pid`)],
    join(folder, `${router}.log`),
  )
  return {
    forwarded() {
      const rules = topology.inside(router, 'nft', 'list', 'chain', 'inet', 'filter', 'prerouting_miniupnpd')
      return [...rules.matchAll(/dnat ip to (\S+:\d+)/g)].map(([, to]) => to)
    },
  }
}
