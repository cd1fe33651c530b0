/** Line plots as plain SVG, for the pages under docs/. */

/** Okabe and Ito's colours, told apart with any colour vision. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000']

/** The picture without the names of the lines, which stand to the right; about the width of a letter of theirs. */
const WIDTH = 530
const HEIGHT = 420
const MARGIN = { top: 40, bottom: 50, left: 60 }
const LETTER = 6.8

/**
 * One plot. `series` are lines with a name, points [x, y] in rising x and, if wanted, `dashed` and `colour` (an index, so that two lines can share one).
 * The axes cover all points. Where there are more lines than colours, those beyond are dashed.
 */
export function linePlot({ title, x, y, series }) {
  const names = Math.max(190, 60 + LETTER * Math.max(...series.map(({ name }) => name.length)))
  const horizontal = axis(
    series.flatMap(({ points }) => points.map(([value]) => value)),
    MARGIN.left,
    WIDTH,
  )
  const vertical = axis(
    series.flatMap(({ points }) => points.map(([, value]) => value)),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  )
  const parts = [
    `<rect width="${round(WIDTH + names)}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(MARGIN.left, 24, title, 'start', 15),
    text((MARGIN.left + WIDTH) / 2, HEIGHT - 12, x, 'middle'),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${text(16, HEIGHT / 2, y, 'middle')}</g>`,
  ]
  for (const value of horizontal.ticks) {
    const at = horizontal.place(value)
    parts.push(line(at, MARGIN.top, at, HEIGHT - MARGIN.bottom, '#dddddd'))
    parts.push(text(at, HEIGHT - MARGIN.bottom + 18, horizontal.show(value), 'middle'))
  }
  for (const value of vertical.ticks) {
    const at = vertical.place(value)
    parts.push(line(MARGIN.left, at, WIDTH, at, '#dddddd'))
    parts.push(text(MARGIN.left - 8, at + 4, vertical.show(value), 'end'))
  }
  for (const [i, { name, points, colour = i, dashed = colour >= COLOURS.length }] of series.entries()) {
    const stroke = COLOURS[colour % COLOURS.length]
    const dashes = dashed ? ' stroke-dasharray="6 4"' : ''
    const path = points.map(([px, py]) => `${round(horizontal.place(px))},${round(vertical.place(py))}`).join(' ')
    parts.push(`<polyline points="${path}" fill="none" stroke="${stroke}" stroke-width="2"${dashes}/>`)
    const at = MARGIN.top + 14 + 20 * i
    const left = WIDTH + 14
    parts.push(`<path d="M${left} ${at - 4}h26" fill="none" stroke="${stroke}" stroke-width="2"${dashes}/>`)
    parts.push(text(left + 34, at, name, 'start'))
  }
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${round(WIDTH + names)} ${HEIGHT}" width="${round(WIDTH + names)}" height="${HEIGHT}">`
  return `${head}\n<title>${escaped(title)}</title>\n${parts.join('\n')}\n</svg>\n`
}

/** A scale from the values' round bounds to two places in the picture, with ticks at 1, 2 or 5 times a power of ten. */
function axis(values, from, to) {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  const rough = Math.max(most - least, 1e-9) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)
  const low = Math.floor(least / step + 1e-9) * step
  const count = Math.ceil((most - low) / step - 1e-9)
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  return {
    ticks: Array.from({ length: count + 1 }, (_, i) => low + i * step),
    place: (value) => from + ((value - low) / (count * step)) * (to - from),
    show: (value) => value.toFixed(decimals),
  }
}

const round = (value) => value.toFixed(1)

const line = (x1, y1, x2, y2, stroke) =>
  `<path d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}" stroke="${stroke}"/>`

function text(x, y, content, anchor, size = 12) {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-family="sans-serif" font-size="${size}">${escaped(content)}</text>`
}

/** Text as XML wants it. */
const escaped = (content) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
