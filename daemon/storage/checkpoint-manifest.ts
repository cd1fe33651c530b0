/** The manifest of a checkpoint: what lies where in its files, with the hash of every piece and of itself. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { StarlingError, sha256Hex } from '../../protocols/index.ts'
import { writeSynced } from './files.ts'

/** Version of the manifest's form. */
const CHECKPOINT_VERSION = 1

/** Longest manifest taken, characters: thousands of tensors fit. */
const MAX_MANIFEST_LENGTH = 16 * 1024 * 1024

const MANIFEST_FILE = 'manifest.json'

/** The file of the model's tensors, and that of every other vector. */
export const MODEL_FILE = 'model.safetensors'
export const STATE_FILE = 'state.safetensors'

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const hash = z.string().regex(/^[0-9a-f]{64}$/)

const pieceSchema = z.strictObject({
  /** Tensor of the model, or the whole flat vector for what is not the model. */
  tensor: z.string().min(1).max(256),
  /** Which vector it belongs to: 'theta' is the model. */
  vector: z.string().min(1).max(64),
  dtype: z.enum(['float32', 'int32']),
  shape: z.array(count).max(8),
  /** First element in the flat vector, and number of elements. */
  start: count,
  length: count,
  file: z.enum([MODEL_FILE, STATE_FILE]),
  /** Bytes from the start of the file. */
  offset: count,
  sha256: hash,
})

const manifestSchema = z.strictObject({
  version: z.literal(CHECKPOINT_VERSION),
  /** CID text of the run. */
  run: z.string().min(1).max(256),
  step: count,
  time: z.string(),
  /** What describes the model (models/), as in the run's manifest. */
  model: z.record(z.string(), z.unknown()),
  /** The run's manifest, so that the checkpoint can be used without anything else. */
  manifest: z.unknown(),
  /** What the strategy wants to find again. */
  progress: z.record(z.string(), z.unknown()),
  /** Elements of each flat vector. */
  vectors: z.record(z.string(), count),
  files: z.array(z.strictObject({ name: z.enum([MODEL_FILE, STATE_FILE]), bytes: count })).max(2),
  pieces: z.array(pieceSchema).max(100_000),
})

export type CheckpointPiece = z.infer<typeof pieceSchema>
export type CheckpointManifest = z.infer<typeof manifestSchema>
export type CheckpointFile = CheckpointManifest['files'][number]

/** The digest covers the manifest itself: a flipped bit in the progress must not pass for progress. */
const envelopeSchema = z.strictObject({ digest: hash, checkpoint: manifestSchema })

const digestOf = (manifest: CheckpointManifest): string => sha256Hex(JSON.stringify(manifest))

/** Writes the manifest into a checkpoint folder that holds everything else; on disk when it resolves. */
export async function writeCheckpointManifest(
  path: string,
  content: Omit<CheckpointManifest, 'version' | 'time'>,
): Promise<void> {
  const manifest: CheckpointManifest = { version: CHECKPOINT_VERSION, time: new Date().toISOString(), ...content }
  await writeSynced(join(path, MANIFEST_FILE), JSON.stringify({ digest: digestOf(manifest), checkpoint: manifest }))
}

/** The error of a checkpoint folder that holds something else than was written. */
export const corrupt = (path: string, what: string, cause?: unknown): StarlingError =>
  new StarlingError('checkpoint-corrupt', `the checkpoint ${path} is damaged: ${what}`, { path, what }, { cause })

/** Reads and checks the manifest of a checkpoint folder. Throws StarlingError 'checkpoint-missing', 'checkpoint-newer' or 'checkpoint-corrupt'. */
export async function readCheckpointManifest(path: string): Promise<CheckpointManifest> {
  let text: string
  try {
    text = await readFile(join(path, MANIFEST_FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new StarlingError('checkpoint-missing', `${path} is not a checkpoint: it holds no ${MANIFEST_FILE}`, {
        path,
      })
    }
    throw corrupt(path, `${MANIFEST_FILE} cannot be read`, error)
  }
  if (text.length > MAX_MANIFEST_LENGTH) throw corrupt(path, `${MANIFEST_FILE} is too large`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw corrupt(path, `${MANIFEST_FILE} is not JSON`, error)
  }
  const written = (value as { checkpoint?: { version?: unknown } } | null)?.checkpoint?.version
  if (typeof written === 'number' && written > CHECKPOINT_VERSION) {
    const message = `the checkpoint ${path} was written by a newer Starling (version ${written}, this one knows up to ${CHECKPOINT_VERSION}); install that version again`
    throw new StarlingError('checkpoint-newer', message, { path, version: written })
  }
  const envelope = envelopeSchema.safeParse(value)
  if (!envelope.success) {
    const issue = envelope.error.issues[0]
    throw corrupt(path, `${MANIFEST_FILE}, at ${issue?.path.join('.') ?? 'top'}: ${issue?.message ?? 'wrong shape'}`)
  }
  // The digest is of what was written, key order included, and parsing keeps that order.
  const raw = (value as { checkpoint: CheckpointManifest }).checkpoint
  if (digestOf(raw) !== envelope.data.digest) throw corrupt(path, `${MANIFEST_FILE} does not fit its digest`)
  return raw
}
