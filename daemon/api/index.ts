export { callApi, followEvents, readEvents, readMetrics } from './client.ts'
export { type Endpoint, findEndpoints, readEndpoint, removeEndpoint, writeEndpoint } from './endpoint.ts'
export { type ApiNode, type ApiOptions, type ApiServer, serveApi } from './server.ts'
