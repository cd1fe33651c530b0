/** The run manifest: `run.yaml` -> checked object -> canonical bytes -> CID, which names the run; and the link that lets others join. */
export { decodeManifest, MAX_MANIFEST_BYTES, manifestBytes, runId, runIdFault, verifyManifest } from './bytes.ts'
export { type FetchManifestOptions, fetchManifest, MANIFEST_METHOD, serveManifest } from './fetch.ts'
export { formatLink, MAX_LINK_PEERS, MAX_LINK_VIA, NETWORK_NAME, parseLink, type RunLink } from './link.ts'
export {
  type Admission,
  createManifestSchema,
  MANIFEST_KEYS,
  MANIFEST_VERSION,
  type ManifestSchema,
  type ManifestSections,
  problemSentence,
  type RunManifest,
} from './manifest.ts'
export { nearestOf, type Problem, problemsOf } from './problems.ts'
export { MAX_MANIFEST_TEXT, parseManifest } from './yaml.ts'
