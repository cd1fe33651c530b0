export { createMetrics, idleSources, type Metrics, type MetricsSources, metricNames, type Traffic } from './metrics.ts'
export { addNetworkMetrics, type NetworkReport } from './network.ts'
