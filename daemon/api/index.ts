export { callApi, followEvents, readEvents, readMetrics } from './client.ts'
export {
  type Endpoint,
  endedWithoutStop,
  findEndpoints,
  readEndpoint,
  removeEndpoint,
  writeEndpoint,
} from './endpoint.ts'
export { guard, isLoopback } from './guard.ts'
export { listen } from './listen.ts'
export { type ApiNode, type ApiOptions, type ApiServer, serveApi } from './server.ts'
