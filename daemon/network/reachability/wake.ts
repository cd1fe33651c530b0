/** Notices that the machine slept, or moved to another network: connections may be dead then although nothing says so. */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

/** A look that comes so much later than the one before, milliseconds, had a sleeping machine before it, or a stopped process. */
const GAP = 30_000
/** The time of day moved so much more than the process's own clock, milliseconds: the machine slept, or somebody set the clock. */
const SKEW = 10_000

/** The two clocks of a machine, milliseconds. A process's own stands still while the machine sleeps, on Linux at least. */
export interface Clocks {
  wall(): number
  monotonic(): number
}

const CLOCKS: Clocks = { wall: () => Date.now(), monotonic: () => performance.now() }

export type Woken = 'slept' | 'moved'

export class WakeWatch {
  readonly #clocks: Clocks
  readonly #addresses: () => string
  #wall: number
  #monotonic: number
  #known: string

  constructor(clocks: Clocks = CLOCKS, addresses: () => string = () => outwardAddresses(networkInterfaces())) {
    this.#clocks = clocks
    this.#addresses = addresses
    this.#wall = clocks.wall()
    this.#monotonic = clocks.monotonic()
    this.#known = addresses()
  }

  /** What happened since the last look, if anything did; called every heartbeat. */
  look(): Woken | undefined {
    const wall = this.#clocks.wall()
    const monotonic = this.#clocks.monotonic()
    const passed = wall - this.#wall
    const slept = passed > GAP || passed - (monotonic - this.#monotonic) > SKEW
    this.#wall = wall
    this.#monotonic = monotonic
    const addresses = this.#addresses()
    const moved = addresses !== this.#known
    this.#known = addresses
    return moved ? 'moved' : slept ? 'slept' : undefined
  }
}

/**
 * Addresses of a machine's interfaces by which others could reach it: without the loopback and those that hold for one link only, which come and go
 * with every container that the machine starts.
 */
export function outwardAddresses(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): string {
  return Object.values(interfaces)
    .flatMap((each) => each ?? [])
    .filter(({ internal, address }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address))
    .map(({ address }) => address)
    .sort()
    .join(' ')
}
