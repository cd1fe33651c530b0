/** What the doctor asks, finds and says. */

/** One finding. `starling doctor` prints one line of each. */
export interface Diagnosis {
  /** What was looked at, e.g. `engine`. */
  name: string
  ok: 'ok' | 'warning' | 'problem'
  /** What was found, short. */
  value: string
  /** How it was found, or what it means. */
  detail?: string
  /** The command, or the one thing to do, that mends it. Present whenever `ok` is not 'ok'. */
  mend?: string
}

/** A port that Starling would listen on. */
export interface PortQuestion {
  /** What it is for, e.g. `page`. */
  purpose: string
  host: string
  /** 0 asks for any free port. */
  port: number
}

export interface DoctorOptions {
  /** Folder whose disk is looked at; it need not exist yet. Default: the working folder. */
  dataFolder?: string
  /** Default: any free port, on loopback and on every interface. */
  ports?: readonly PortQuestion[]
  /** Measure this engine instead of the best one. */
  engine?: 'native' | 'wasm' | 'js'
}

/** What the last set-up wrote down. */
export interface SetupStatus {
  engine: 'native' | 'wasm'
  why: string
  mend?: string
  cache: string
}

export interface EngineFact {
  name: 'native' | 'wasm' | 'js'
  why: string
  /** Speed of a product of two 1024 × 1024 float32 matrices, the best of several. */
  gflops: number
}

/** Everything the findings are drawn from, so that a test can make it up. */
export interface Facts {
  engine: EngineFact | { error: string }
  setup: SetupStatus | undefined
  /** `process.version`. */
  node: string
  platform: string
  cores: { usable: number; model: string }
  /** Bytes. `limit`: what a container allows, where it does. */
  memory: { available: number; total: number; limit: number | undefined }
  disks: readonly { purpose: string; folder: string; free: number | undefined; error?: string }[]
  /** `drift`: relative difference of the wall clock's pace to the monotonic one's; `built`: when these files were made; milliseconds. */
  clock: { now: number; built: number; drift: number }
  ports: readonly (PortQuestion & { error?: string })[]
  /** Open files this process may have; undefined where the system does not tell. */
  openFiles: number | undefined
  /** Versions by package name; undefined when not installed. */
  libraries: Readonly<Record<string, string | undefined>>
  /** Looked for only when the native engine is missing. */
  tools: { compiler: boolean; pip: boolean } | undefined
}
