/**
 * An internet in network namespaces: a public subnet, and two homes behind routers that translate addresses and let nothing in.
 *
 *                    the public net, 44.128.0.0/24: a bridge in a namespace of its own
 *          boot .10      c1 .21 ... c4 .24             router a .2         router b .3
 *                                                          |                   |
 *                                                     10.1.0.0/24         10.2.0.0/24
 *                                                  a1 .11   a2 .12          b1 .11
 *
 * Every host is a namespace with one link. Nothing leads to the machine that the lab runs on, nor from it into the world. The public addresses are those that amateur
 * radio sets aside for tests (44.128.0.0/16): libp2p takes the ranges for documentation to be private and would not count them as reachable.
 */
import { call, hasNetem, PREFIX, removeNamespace } from './tools.js'

const PUBLIC_NET = '44.128.0'

/** What there is. `net` names the subnet, `number` ends the address. */
export const HOSTS = {
  boot: { net: 'public', number: 10 },
  c1: { net: 'public', number: 21 },
  c2: { net: 'public', number: 22 },
  c3: { net: 'public', number: 23 },
  c4: { net: 'public', number: 24 },
  a1: { net: 'a', number: 11 },
  a2: { net: 'a', number: 12 },
  b1: { net: 'b', number: 11 },
}

/** The homes: the subnet inside, and the router's public address. */
const HOMES = { a: { inside: '10.1.0', number: 2 }, b: { inside: '10.2.0', number: 3 } }

/**
 * How a router translates. Linux keeps the source's port where it is free and lets in only what answers (RFC 4787: address and port dependent filtering), which is called
 * `port-restricted`; with a random port for each destination it is `symmetric`, and no hole can be punched to a port that nobody can foretell.
 */
export const NATS = { 'port-restricted': [], symmetric: ['--random-fully'] }

/** Where machines of the public net listen. */
export const PORT = 7400

/** Burst that tbf sends at line speed, bytes, and the longest that a packet waits in it, ms: a home router's buffer. */
const BURST = 16_000
const QUEUE = 200

/** Makes the namespaces. Call `close` at the end, whatever happens; `clean` in tools.js does it after a crash. */
export function createTopology({ nat = 'port-restricted' } = {}) {
  const masquerade = NATS[nat]
  if (masquerade === undefined) throw new Error(`nat ${nat}: must be one of ${Object.keys(NATS).join(', ')}`)
  const made = [] // names, in order: a dozen
  const nameOf = (host) => `${PREFIX}${process.pid}-${host}`
  const addressOf = (host) => {
    const { net, number } = HOSTS[host]
    return `${net === 'public' ? PUBLIC_NET : HOMES[net].inside}.${number}`
  }
  /** Runs a program inside a host. */
  const inside = (host, ...words) => call('ip', ['netns', 'exec', nameOf(host), ...words])

  const hubOf = (host) => (HOSTS[host].net === 'public' ? 'public' : `router-${HOSTS[host].net}`)

  /** Makes namespaces, each with what `ip` is to do inside it. One process for each: a hundred calls take seconds. */
  const build = () => {
    const inThem = new Map() // namespace -> lines for ip -batch
    const cables = [] // lines for ip -batch
    const add = (host, ...lines) => inThem.set(host, [...(inThem.get(host) ?? ['link set lo up']), ...lines])
    const addHub = (host) => add(host, 'link add bridge type bridge forward_delay 0', 'link set bridge up')
    const plug = (host, port, address, hub) => {
      cables.push(`link add ${port} netns ${nameOf(host)} type veth peer name to-${host} netns ${nameOf(hub)}`)
      add(hub, `link set to-${host} master bridge up`)
      add(host, `address add ${address}/24 brd + dev ${port}`, `link set ${port} up`)
    }
    addHub('public')
    for (const [home, { inside: subnet, number }] of Object.entries(HOMES)) {
      const router = `router-${home}`
      addHub(router)
      add(router, `address add ${subnet}.1/24 brd + dev bridge`)
      plug(router, 'outside', `${PUBLIC_NET}.${number}`, 'public')
    }
    for (const host of Object.keys(HOSTS)) {
      plug(host, 'eth0', addressOf(host), hubOf(host))
      add(host, `route add ${defaultRoute(host)}`)
    }
    for (const host of inThem.keys()) made.push(nameOf(host))
    call('ip', ['-batch', '-'], { input: [...made.map((name) => `netns add ${name}`), ...cables].join('\n') })
    for (const [host, lines] of inThem) call('ip', ['-n', nameOf(host), '-batch', '-'], { input: lines.join('\n') })
    for (const home of Object.keys(HOMES)) translate(`router-${home}`)
  }

  /** The public net has no gateway, but multicast wants a route. */
  const defaultRoute = (host) => {
    const { net } = HOSTS[host]
    return net === 'public' ? 'default dev eth0' : `default via ${HOMES[net].inside}.1 dev eth0`
  }

  const translate = (router) => {
    inside(router, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1')
    inside(router, 'iptables', '-P', 'FORWARD', 'DROP')
    inside(router, 'iptables', '-A', 'FORWARD', '-i', 'bridge', '-j', 'ACCEPT')
    const answers = ['-m', 'conntrack', '--ctstate', 'ESTABLISHED,RELATED', '-j', 'ACCEPT']
    inside(router, 'iptables', '-A', 'FORWARD', '-i', 'outside', ...answers)
    // A router that answered strangers with a reset would kill a hole in the making; those at home say nothing.
    inside(router, 'iptables', '-A', 'INPUT', '-i', 'outside', '-j', 'DROP')
    inside(router, 'iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'outside', '-j', 'MASQUERADE', ...masquerade)
  }

  const topology = {
    nat,
    hosts: Object.keys(HOSTS),
    nameOf,
    addressOf,
    inside,

    /** The address as the public net sees a host: its own, or its router's. */
    seenAs: (host) =>
      HOSTS[host].net === 'public' ? addressOf(host) : `${PUBLIC_NET}.${HOMES[HOSTS[host].net].number}`,

    /** Flags by which a machine with a public address listens on a port that is known, and says so. */
    publicly: (host) => ['--listen', `/ip4/0.0.0.0/tcp/${PORT}`, '--announce', `/ip4/${addressOf(host)}/tcp/${PORT}`],

    /** Limits a host's link to `rate` (as tc writes it) in both directions, and delays each way by `delay` ms where the kernel can; returns whether it could. */
    shape(host, { rate, delay = 0 }) {
      const ends = [
        [nameOf(host), 'eth0'],
        [nameOf(hubOf(host)), `to-${host}`],
      ]
      const delays = delay > 0 && hasNetem(nameOf(host))
      for (const [name, port] of ends) {
        const tc = (...words) => call('ip', ['netns', 'exec', name, 'tc', 'qdisc', 'replace', 'dev', port, ...words])
        // Without this a "packet" of a virtual link holds up to 64 kB, and a lost one is forty lost.
        call('ip', ['-n', name, 'link', 'set', port, 'gso_max_segs', '1'])
        tc('root', 'handle', '1:', 'tbf', 'rate', rate, 'burst', `${BURST}`, 'latency', `${QUEUE}ms`)
        if (delays) tc('parent', '1:', 'netem', 'delay', `${delay}ms`)
      }
      return delays
    },

    /** Drops this share of the packets that arrive at a host. */
    lose(host, share) {
      const random = ['-m', 'statistic', '--mode', 'random', '--probability', String(share)]
      inside(host, 'iptables', '-A', 'INPUT', '-i', 'eth0', ...random, '-j', 'DROP')
      // A rule without a target counts what passed.
      inside(host, 'iptables', '-A', 'INPUT', '-i', 'eth0')
    },

    /** Packets that arrived at a host since {@link lose}, and those of them that were dropped. */
    lost(host) {
      const counts = inside(host, 'iptables', '-nvxL', 'INPUT')
        .split('\n')
        .filter((line) => / eth0 /.test(line))
        .map((line) => ({ packets: Number(line.trim().split(/\s+/)[0]), dropped: / DROP /.test(line) }))
      const sum = (list) => list.reduce((total, { packets }) => total + packets, 0)
      return { packets: sum(counts), dropped: sum(counts.filter(({ dropped }) => dropped)) }
    },

    /** Nothing passes any more between two groups of hosts; returns what heals that. For hosts of one net, or of the public one. */
    cut(some, others) {
      const rules = some.flatMap((host) =>
        others.flatMap((other) => [
          [host, 'INPUT', '-s', topology.seenAs(other), '-j', 'DROP'],
          [host, 'OUTPUT', '-d', topology.seenAs(other), '-j', 'DROP'],
        ]),
      )
      for (const [host, ...rule] of rules) inside(host, 'iptables', '-I', ...rule)
      return () => {
        for (const [host, ...rule] of rules) inside(host, 'iptables', '-D', ...rule)
      }
    },

    /** Gives a host another address in its subnet; the old one is gone, as after a move to another network. */
    renumber(host, number) {
      const subnet = addressOf(host).replace(/\.\d+$/, '')
      const lines = [
        'address flush dev eth0',
        `address add ${subnet}.${number}/24 brd + dev eth0`,
        `route replace ${defaultRoute(host)}`,
      ]
      call('ip', ['-n', nameOf(host), '-batch', '-'], { input: lines.join('\n') })
      return `${subnet}.${number}`
    },

    /** Ends whatever runs in the namespaces and removes them, the last one first. */
    close() {
      for (const name of made.splice(0).reverse()) removeNamespace(name)
    },
  }

  try {
    build()
  } catch (error) {
    topology.close()
    throw error
  }
  return topology
}
