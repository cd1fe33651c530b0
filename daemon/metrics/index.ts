export { createMetrics, type Metrics, type Traffic } from './metrics.ts'
