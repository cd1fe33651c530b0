/** Points of a curve, thinned evenly so that any length of run fits. */
export class Curve {
  /** Optimizer step or round of each point, ascending after {@link Curve.sorted}. */
  readonly x: number[] = []
  /** Milliseconds since the epoch. */
  readonly time: number[] = []
  readonly y: number[] = []
  private readonly capacity: number

  /** Keeps at most `capacity` points: when full, every second one in the older half goes. */
  constructor(capacity = 1_200) {
    this.capacity = capacity
  }

  get length(): number {
    return this.y.length
  }

  /** The last value, if any. */
  get last(): number | undefined {
    return this.y.at(-1)
  }

  add(x: number, time: number, y: number): void {
    if (!Number.isFinite(y)) return
    this.x.push(x)
    this.time.push(time)
    this.y.push(y)
    if (this.y.length > this.capacity) this.thin()
  }

  private thin(): void {
    const half = this.y.length >> 1
    const keep = (index: number): boolean => index >= half || index % 2 === 0
    for (const list of [this.x, this.time, this.y]) {
      const kept = list.filter((_, index) => keep(index))
      list.length = 0
      for (const value of kept) list.push(value)
    }
  }

  /**
   * The points in ascending order of the chosen axis, one per value of it (a peer that came back trains some steps again: the later
   * point counts). Seconds are counted from `start`.
   */
  sorted(axis: 'steps' | 'seconds', start = 0): { x: number[]; y: number[] } {
    const values = axis === 'steps' ? this.x : this.time.map((time) => Math.max(0, (time - start) / 1000))
    const points = new Map<number, number>()
    values.forEach((value, index) => {
      points.set(value, this.y[index] as number)
    })
    const x = [...points.keys()].sort((a, b) => a - b)
    return { x, y: x.map((value) => points.get(value) as number) }
  }
}
