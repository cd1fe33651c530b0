/**
 * Seeded drawings of the digits 0 to 9: strokes of a pen with jitter, slant, rotation, size, thickness and noise. Only + − × ÷ and √ are used,
 * so one seed gives the same pixels on every machine.
 */
import { type SeededRandom, seededRandom } from '../random.ts'
import { DIGIT_CLASSES, DIGIT_SIDE } from './digits-size.ts'
import type { Images } from './images.ts'

type Point = readonly [x: number, y: number]
/** A start and then pairs of (control point, end point) of quadratic curves, in a box of 0 to 1, y downwards. */
type Stroke = readonly Point[]

/** A straight line is a curve whose control point lies in its middle. */
const line = (...points: Point[]): Stroke =>
  points.flatMap((point, i) => {
    const last = points[i - 1]
    return last === undefined ? [point] : [[(last[0] + point[0]) / 2, (last[1] + point[1]) / 2] as const, point]
  })

/** An ellipse of four quadratic curves around a middle, from its top, against the clock. */
const ring = (x: number, y: number, rx: number, ry: number): Stroke => {
  // The corner weight makes the curves meet the ellipse at 45 degrees.
  const k = 0.83
  return [
    [x, y - ry],
    [x - rx * k, y - ry * k * 1.1],
    [x - rx, y],
    [x - rx * k, y + ry * k * 1.1],
    [x, y + ry],
    [x + rx * k, y + ry * k * 1.1],
    [x + rx, y],
    [x + rx * k, y - ry * k * 1.1],
    [x, y - ry],
  ]
}

/** The ways in which each digit is written. */
const shapes: readonly (readonly (readonly Stroke[])[])[] = [
  [[ring(0.5, 0.5, 0.34, 0.48)], [ring(0.5, 0.5, 0.27, 0.48)]],
  [
    [line([0.5, 0.02], [0.5, 0.98])],
    [line([0.3, 0.25], [0.54, 0.02], [0.54, 0.98])],
    [line([0.3, 0.25], [0.52, 0.02], [0.52, 0.98]), line([0.28, 0.98], [0.76, 0.98])],
  ],
  [
    [
      [
        [0.2, 0.26],
        [0.26, 0.02],
        [0.5, 0.02],
        [0.8, 0.02],
        [0.8, 0.3],
        [0.78, 0.52],
        [0.18, 0.97],
        [0.5, 0.96],
        [0.84, 0.97],
      ],
    ],
    [
      [
        [0.2, 0.2],
        [0.44, -0.08],
        [0.68, 0.08],
        [0.9, 0.3],
        [0.6, 0.62],
        [0.4, 0.86],
        [0.22, 0.92],
        [0.14, 0.74],
        [0.36, 0.84],
        [0.6, 1],
        [0.86, 0.92],
      ],
    ],
  ],
  [
    [
      [
        [0.2, 0.14],
        [0.4, -0.02],
        [0.62, 0.04],
        [0.86, 0.16],
        [0.72, 0.36],
        [0.62, 0.46],
        [0.44, 0.48],
        [0.84, 0.48],
        [0.82, 0.74],
        [0.78, 1],
        [0.46, 0.98],
        [0.28, 0.97],
        [0.16, 0.84],
      ],
    ],
    [
      [
        ...line([0.2, 0.03], [0.78, 0.03], [0.46, 0.4]),
        [0.86, 0.42],
        [0.82, 0.72],
        [0.76, 1.02],
        [0.44, 0.98],
        [0.26, 0.96],
        [0.16, 0.84],
      ],
    ],
  ],
  [
    [line([0.62, 0.02], [0.14, 0.66], [0.88, 0.66]), line([0.66, 0.36], [0.66, 0.98])],
    [line([0.24, 0.04], [0.2, 0.52], [0.8, 0.52]), line([0.76, 0.04], [0.74, 0.98])],
  ],
  [
    [
      [
        ...line([0.8, 0.03], [0.28, 0.03], [0.24, 0.44]),
        [0.5, 0.32],
        [0.7, 0.44],
        [0.92, 0.6],
        [0.76, 0.84],
        [0.6, 1.04],
        [0.18, 0.9],
      ],
    ],
    [
      [
        ...line([0.26, 0.04], [0.24, 0.42]),
        [0.8, 0.3],
        [0.8, 0.68],
        [0.78, 0.98],
        [0.46, 0.98],
        [0.3, 0.98],
        [0.18, 0.86],
      ],
      line([0.26, 0.04], [0.8, 0.04]),
    ],
  ],
  [
    [
      [
        [0.7, 0.04],
        [0.3, 0.16],
        [0.22, 0.66],
        [0.2, 0.98],
        [0.5, 0.98],
        [0.82, 0.98],
        [0.8, 0.7],
        [0.78, 0.46],
        [0.5, 0.46],
        [0.28, 0.46],
        [0.22, 0.7],
      ],
    ],
    [
      [
        [0.56, 0.02],
        [0.16, 0.44],
        [0.22, 0.76],
        [0.28, 1],
        [0.52, 0.98],
        [0.78, 0.96],
        [0.76, 0.72],
        [0.72, 0.52],
        [0.5, 0.54],
        [0.3, 0.56],
        [0.24, 0.8],
      ],
    ],
  ],
  [
    [line([0.16, 0.04], [0.84, 0.04], [0.4, 0.98])],
    [[...line([0.16, 0.06], [0.82, 0.04]), [0.5, 0.4], [0.44, 0.98]], line([0.3, 0.52], [0.76, 0.48])],
  ],
  [
    [ring(0.5, 0.25, 0.24, 0.23), ring(0.5, 0.73, 0.3, 0.25)],
    [
      [
        [0.76, 0.14],
        [0.5, -0.06],
        [0.3, 0.12],
        [0.2, 0.34],
        [0.5, 0.46],
        [0.86, 0.62],
        [0.76, 0.84],
        [0.5, 1.12],
        [0.24, 0.84],
        [0.16, 0.62],
        [0.5, 0.46],
        [0.76, 0.34],
        [0.76, 0.14],
      ],
    ],
  ],
  [
    [
      ring(0.48, 0.28, 0.27, 0.26),
      [
        [0.75, 0.26],
        [0.76, 0.6],
        [0.6, 0.98],
      ],
    ],
    [
      [
        [0.76, 0.2],
        [0.56, -0.06],
        [0.32, 0.12],
        [0.16, 0.34],
        [0.36, 0.48],
        [0.66, 0.54],
        [0.76, 0.2],
        [0.76, 0.7],
        [0.68, 0.84],
        [0.56, 1.04],
        [0.26, 0.9],
      ],
    ],
  ],
]

/** Straight pieces per curve. */
const PIECES = 6

/** `count` drawings; the labels are drawn evenly. The same on every machine. About 60 µs each. */
export function drawDigits(seed: number, count: number): Images {
  const pixels = new Uint8Array(count * DIGIT_SIDE * DIGIT_SIDE)
  const labels = new Uint8Array(count)
  const random = seededRandom('digits', seed)
  for (let image = 0; image < count; image++) {
    const label = random.integer(DIGIT_CLASSES)
    labels[image] = label
    draw(label, random, pixels.subarray(image * DIGIT_SIDE * DIGIT_SIDE, (image + 1) * DIGIT_SIDE * DIGIT_SIDE))
  }
  return { count, height: DIGIT_SIDE, width: DIGIT_SIDE, pixels, labels, classes: DIGIT_CLASSES }
}

function draw(label: number, random: SeededRandom, out: Uint8Array): void {
  const between = (low: number, high: number) => low + (high - low) * random.uniform()
  const ways = shapes[label]!
  const strokes = ways[random.integer(ways.length)]!
  // A rotation by the angle whose half has the tangent t, without a sine: up to 17 degrees either way.
  const t = between(-0.15, 0.15)
  const cos = (1 - t * t) / (1 + t * t)
  const sin = (2 * t) / (1 + t * t)
  const slant = between(-0.1, 0.25)
  const height = between(17, 21)
  const width = between(13, 18)
  const middleX = DIGIT_SIDE / 2 + between(-2, 2)
  const middleY = DIGIT_SIDE / 2 + between(-2, 2)
  const radius = between(0.6, 1.6)
  const jitter = 0.035
  const place = ([px, py]: Point): Point => {
    const y = (py - 0.5 + jitter * random.normal()) * height
    const x = (px - 0.5 + jitter * random.normal()) * width - slant * y
    return [middleX + cos * x - sin * y, middleY + sin * x + cos * y]
  }
  const ink = new Float64Array(DIGIT_SIDE * DIGIT_SIDE)
  for (const stroke of strokes) {
    const points = stroke.map(place)
    let from = points[0]!
    for (let i = 1; i + 1 < points.length; i += 2) {
      const start = points[i - 1]!
      const control = points[i]!
      const end = points[i + 1]!
      for (let piece = 1; piece <= PIECES; piece++) {
        const s = piece / PIECES
        const a = (1 - s) * (1 - s)
        const b = 2 * s * (1 - s)
        const c = s * s
        const to: Point = [a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]]
        inkLine(ink, from, to, radius)
        from = to
      }
    }
  }
  const strength = between(190, 255)
  for (let i = 0; i < ink.length; i++) {
    // Grain on the stroke, a little dust beside it.
    const grain = strength * ink[i]! + 14 * random.normal()
    out[i] = Math.max(0, Math.min(255, Math.round(grain)))
  }
}

/** Darkens the pixels near a line: full within the radius, fading over one pixel. */
function inkLine(ink: Float64Array, from: Point, to: Point, radius: number): void {
  const reach = radius + 1
  const clamp = (value: number) => Math.max(0, Math.min(DIGIT_SIDE - 1, value))
  const left = clamp(Math.floor(Math.min(from[0], to[0]) - reach))
  const right = clamp(Math.ceil(Math.max(from[0], to[0]) + reach))
  const top = clamp(Math.floor(Math.min(from[1], to[1]) - reach))
  const bottom = clamp(Math.ceil(Math.max(from[1], to[1]) + reach))
  const dx = to[0] - from[0]
  const dy = to[1] - from[1]
  const square = dx * dx + dy * dy
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const px = x + 0.5 - from[0]
      const py = y + 0.5 - from[1]
      const along = square === 0 ? 0 : Math.max(0, Math.min(1, (px * dx + py * dy) / square))
      const ox = px - along * dx
      const oy = py - along * dy
      const dark = radius + 0.5 - Math.sqrt(ox * ox + oy * oy)
      const i = y * DIGIT_SIDE + x
      if (dark > ink[i]!) ink[i] = Math.min(1, dark)
    }
  }
}
