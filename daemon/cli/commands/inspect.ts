import { existsSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { Command } from 'commander'
import { parseLink, StarlingError } from '../../../protocols/index.ts'
import { formatBytes, stageName } from '../../view/index.ts'
import { findCheckpoint } from '../model.ts'
import { jsonOption } from '../options.ts'
import { createOutput, type Output, plain, table } from '../output.ts'
import { readUserFile } from '../run-file.ts'
import { isRunLog, openRunLog } from '../run-log.ts'

/** Largest safetensors header read, bytes; the format's own limit. */
const MAX_HEADER = 100_000_000

/** `starling inspect FILE`: what a file, a checkpoint or a link holds. */
export function inspect(): Command {
  return new Command('inspect')
    .description('what a checkpoint, a safetensors file, a log of contributions, a run.yaml or a run link holds')
    .argument('<file|link>')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ starling inspect .starling/runs/stories-1')
    .action(async (what: string, flags: { json?: true }) => {
      const output = createOutput(flags.json === true)
      if (what.startsWith('starling:')) return inspectLink(what, output)
      if (!existsSync(what))
        throw new StarlingError('file-missing', `There is no ${what}, and it is no run link either`)
      if (statSync(what).isDirectory()) return await inspectCheckpoint(what, output)
      if (/\.ya?ml$/.test(what)) return await inspectRun(what, output)
      if (isRunLog(what)) return await inspectRunLog(what, output)
      if (/\.safetensors$/.test(what)) return await inspectSafetensors(what, output)
      if (basename(what) === 'manifest.json') return await inspectCheckpoint(what, output)
      throw new StarlingError(
        'unknown-file',
        `${what} is neither a checkpoint folder, nor .safetensors, nor .yaml, nor .log, nor a run link`,
      )
    })
}

function inspectLink(text: string, output: Output): void {
  const link = parseLink(text)
  output.summary({ what: 'link', ...link })
  output.line(`run    ${link.run}`)
  if (link.name !== undefined) output.line(`name   ${plain(link.name)}`)
  for (const peer of link.peers) output.line(`peer   ${peer}`)
}

async function inspectRun(path: string, output: Output): Promise<void> {
  const { formatRun, parseRun } = await import('../../run/index.ts')
  const run = parseRun(new TextDecoder().decode(readUserFile(path)), basename(path))
  const { parameters } = run.layout
  output.summary({
    what: 'run',
    run: run.id,
    parameters,
    manifest: run.manifest,
    model: run.model,
    training: run.training,
  })
  output.line(`run ${run.id}, ${parameters.toLocaleString('en')} parameters`)
  output.line()
  output.line(formatRun(run).trimEnd())
}

async function inspectCheckpoint(path: string, output: Output): Promise<void> {
  const { heldParts, loadCheckpoint, readCheckpointManifest } = await import('../../storage/index.ts')
  const folder = findCheckpoint(path)
  const manifest = await readCheckpointManifest(folder)
  // Reads every byte: what does not fit its hash is told here, and not when it is needed.
  await loadCheckpoint(folder)
  const tensors = manifest.pieces.filter(({ vector }) => vector === 'theta')
  for (const piece of tensors)
    output.record({ kind: 'tensor', name: piece.tensor, shape: piece.shape, sha256: piece.sha256 })
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0)
  const { run, step, time, model, progress } = manifest
  output.summary({
    what: 'checkpoint',
    path: folder,
    run,
    step,
    time,
    bytes,
    model,
    progress,
    vectors: manifest.vectors,
    tensors: tensors.length,
    intact: true,
  })
  output.line(`checkpoint ${folder}`)
  output.line(`run        ${run}`)
  output.line(`written    ${time}, at step ${step}`)
  const held = heldParts(progress).map(({ stage }) => stageName(stage))
  if (held.length > 0) output.line(`holds      ${held.join(', ')} of a pipeline, not the whole model`)
  output.line(`size       ${formatBytes(bytes)}, every hash fits`)
  output.line(
    `vectors    ${Object.entries(manifest.vectors)
      .map(([name, length]) => `${name} (${length.toLocaleString('en')})`)
      .join(', ')}`,
  )
  output.line()
  output.line(
    table(
      ['tensor', 'shape'],
      tensors.map((piece) => [piece.tensor, piece.shape.join(' × ')]),
    ),
  )
}

async function inspectRunLog(path: string, output: Output): Promise<void> {
  const { run, authors, excluded, digest, bytes = 0 } = await openRunLog(path)
  const contributions = [...authors.values()].reduce((sum, each) => sum + each.length, 0)
  for (const [author, each] of authors) output.record({ kind: 'author', author, contributions: each.length })
  for (const each of excluded) output.record({ kind: 'excluded', ...each })
  output.summary({
    what: 'run log',
    path,
    run: run.id,
    name: run.manifest.name,
    authors: authors.size,
    contributions,
    excluded: excluded.length,
    bytes,
    digest,
    parameters: run.layout.parameters,
    steps: run.training.steps,
    intact: true,
  })
  output.line(`log        ${path}`)
  output.line(`run        ${run.manifest.name} (${run.id}), ${run.layout.parameters.toLocaleString('en')} parameters`)
  output.line(
    `holds      ${contributions.toLocaleString('en')} contributions of ${authors.size} authors, every signature fits`,
  )
  output.line(
    `size       ${formatBytes(bytes)}, ${(bytes / Math.max(1, contributions)).toFixed(2)} bytes a contribution`,
  )
  output.line(`set        ${digest}`)
  output.line()
  const rows = [
    ...[...authors].map(([author, each]) => [
      author,
      `${each.length.toLocaleString('en')} of ${run.training.steps.toLocaleString('en')}`,
    ]),
    ...excluded.map(({ author, step }) => [author, `excluded: two contributions for step ${step}`]),
  ]
  output.line(table(['author', 'contributions'], rows))
}

interface HeaderEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

async function inspectSafetensors(path: string, output: Output): Promise<void> {
  const damaged = (why: string): StarlingError =>
    new StarlingError('safetensors-invalid', `${path} is not a safetensors file: ${why}`, { path })
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const prefix = Buffer.alloc(8)
    if ((await file.read(prefix, 0, 8, 0)).bytesRead < 8) throw damaged('it is shorter than 8 bytes')
    const length = Number(prefix.readBigUInt64LE())
    if (length > MAX_HEADER || 8 + length > size)
      throw damaged(`its header of ${length} bytes does not fit into ${size} bytes`)
    const header = Buffer.alloc(length)
    await file.read(header, 0, length, 8)
    let entries: Record<string, HeaderEntry>
    try {
      const { __metadata__: _, ...rest } = JSON.parse(header.toString('utf8')) as Record<string, HeaderEntry>
      entries = rest
    } catch {
      throw damaged('its header is not JSON')
    }
    let end = 0
    for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
      if (typeof dtype !== 'string' || !Array.isArray(shape) || !Array.isArray(offsets))
        throw damaged(`its entry ${JSON.stringify(name)} lacks dtype, shape or data_offsets`)
      end = Math.max(end, offsets[1])
      output.record({ kind: 'tensor', name, dtype, shape })
    }
    if (8 + length + end !== size) throw damaged(`its tensors end at byte ${8 + length + end}, the file at ${size}`)
    const values = Object.values(entries).reduce(
      (sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1),
      0,
    )
    output.summary({ what: 'safetensors', path, bytes: size, tensors: Object.keys(entries).length, values })
    output.line(
      `${path}: ${Object.keys(entries).length} tensors, ${values.toLocaleString('en')} values, ${formatBytes(size)}`,
    )
    output.line()
    output.line(
      table(
        ['tensor', 'type', 'shape'],
        Object.entries(entries).map(([name, { dtype, shape }]) => [plain(name), dtype, shape.join(' × ')]),
      ),
    )
  } finally {
    await file.close()
  }
}
