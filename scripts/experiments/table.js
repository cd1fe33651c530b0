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
