/** Notices that the machine slept, or moved to another network: connections may be dead then although nothing says so. */
import { networkInterfaces } from 'node:os'

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

  constructor(clocks: Clocks = CLOCKS, addresses: () => string = interfaceAddresses) {
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

/** Addresses of this machine's interfaces, the loopback left out. */
function interfaceAddresses(): string {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const outward = all.filter(({ internal }) => !internal)
  return outward
    .map(({ address }) => address)
    .sort()
    .join(' ')
}
