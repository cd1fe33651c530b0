/** Measures jobs of experiments that run.js sends, one at a time, in a process of its own. */
import { experimentOf } from './experiments.js'

process.on('message', async ({ name, job }) => {
  const begun = process.cpuUsage()
  try {
    const result = await experimentOf(name).run(job, { log: (line) => process.send({ log: line }) })
    const { user, system } = process.cpuUsage(begun)
    process.send({ result, seconds: Math.round((user + system) / 1e5) / 10 })
  } catch (error) {
    process.send({ error: error.stack })
  }
})
