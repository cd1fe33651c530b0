/**
 * Asks Prometheus every query of the dashboard and says how many series each answers with.
 *
 *     node docker/grafana/check.js [http://localhost:9090]
 *
 * Ends with 1 when a query is refused, and when one that every training swarm answers has no data: those with "(may be empty)" in their
 * line count what a quiet swarm does not do.
 */
import { readFileSync } from 'node:fs'

const server = process.argv[2] ?? 'http://localhost:9090'
const { panels } = JSON.parse(readFileSync(new URL('dashboards/starling.json', import.meta.url), 'utf8'))

/** What Grafana puts for it: four times the interval of scraping. */
const RATE_INTERVAL = '20s'

/** Milliseconds for one answer. */
const TIMEOUT = 10_000

/** Counts of what goes wrong have no series until it first does, and scores none while nobody is connected. */
const quiet = /starling_(exchanges_skipped|rejects|bans|peer_score)/

let failed = false
for (const { title, targets = [] } of panels) {
  for (const { expr } of targets) {
    const query = expr.replaceAll('$__rate_interval', RATE_INTERVAL)
    const answer = await fetch(`${server}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query }),
      signal: AbortSignal.timeout(TIMEOUT),
    })
    const { status, data, error } = await answer.json()
    const series = data?.result ?? []
    const mayBeEmpty = quiet.test(expr)
    failed ||= status !== 'success' || (series.length === 0 && !mayBeEmpty)
    const first = series[0] === undefined ? '' : `, e.g. ${series[0].metric.name ?? ''} ${series[0].value[1]}`
    const found = status === 'success' ? `${series.length} series${first}` : error
    console.log(`${title}: ${found}${mayBeEmpty ? ' (may be empty)' : ''}`)
  }
}
process.exitCode = failed ? 1 : 0
