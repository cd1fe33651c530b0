/** Small helpers that the experiments' tables share. */

/** Mean of a list. */
export const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length

/** A share as in the tables of the docs: three decimals, no leading zero. */
export const share = (value) => (Number.isFinite(value) ? value.toFixed(3).replace(/^(-?)0\./, '$1.') : '–')

/**
 * A Markdown table.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function markdown(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** A number with so many decimals; a dash for what there is none of. */
export const text = (value, digits = 3) =>
  value === undefined || value === null || !Number.isFinite(value) ? '–' : value.toFixed(digits)

/** What several seeds gave, side by side. */
export const of = (values) => values.join(' / ')

/** The middle one of a list (the upper one of an even number). */
export const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1]

/** Pearson's correlation of two equally long lists; NaN where one does not vary. */
export function correlation(xs, ys) {
  const [mx, my] = [mean(xs), mean(ys)]
  let [xy, xx, yy] = [0, 0, 0]
  for (const [i, x] of xs.entries()) {
    xy += (x - mx) * (ys[i] - my)
    xx += (x - mx) ** 2
    yy += (ys[i] - my) ** 2
  }
  return xy / Math.sqrt(xx * yy)
}
