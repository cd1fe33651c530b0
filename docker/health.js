/**
 * The health check of the image: exit code 0 while the node in this container answers. STARLING_HEALTH names another address than that of
 * docker-compose.yml.
 */
const address = process.env.STARLING_HEALTH ?? 'http://127.0.0.1:7401/api/health'

/** Milliseconds for the answer, less than the time-out of the check itself so that the reason is seen. */
const TIMEOUT = 4_000

try {
  const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT) })
  console.log(`${answer.status} ${(await answer.text()).slice(0, 500)}`)
  process.exitCode = answer.ok ? 0 : 1
} catch (error) {
  console.error(`${address} does not answer: ${error.cause?.message ?? error.message}`)
  process.exitCode = 1
}
