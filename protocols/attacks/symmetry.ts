/**
 * A model that is as good as any and ruins every average: hidden units are exchanged and scaled, which leaves the function as it is (Wang et
 * al. 2025, "Model Unmerging", arXiv 2509.01548, calls it MergeLock). No test of accuracy can find it.
 *
 * Deviation: MergeLock multiplies by dense invertible matrices; here they are monomial (a permutation times a scale), which all
 * architectures allow, rotary positions and gated activations included.
 */
import { StarlingError } from '../errors.ts'
import type { PlacedTensor } from '../pieces/index.ts'
import type { Random } from '../ports.ts'
import { shuffled } from '../random.ts'
import type { AttackDefinition, SymmetricTensor, Symmetry } from './types.ts'

/** Sends its own model, rewritten; with the same permutation and scales every time, as one that trains in its own coordinates would. */
export const rotation: AttackDefinition = {
  name: 'rotation',
  summary: 'sends its honest model with its hidden units exchanged and scaled: the same function, other parameters',
  strength: { meaning: 'largest scale of a unit; 1 to exchange only', default: 2, least: 1 },
  create: (strength, { random, symmetries }) => {
    if (symmetries.length === 0) {
      throw new StarlingError('bad-option', 'attack rotation: this model has no symmetries to use', {})
    }
    const draws = symmetries.map((symmetry) => drawSymmetry(symmetry, strength, random))
    return (message) => {
      for (const [i, symmetry] of symmetries.entries()) {
        applySymmetry(message, symmetry, draws[i]!)
      }
    }
  },
}

/** What is done to the units: unit k becomes what unit order[k] was, scaled by scales[k] > 0. */
interface Draw {
  order: readonly number[]
  scales: readonly number[]
}

function drawSymmetry({ units }: Symmetry, strength: number, random: Random): Draw {
  const order = shuffled(
    Array.from({ length: units }, (_, i) => i),
    random,
  )
  // Uniform in the logarithm, from 1/strength to strength.
  return { order, scales: order.map(() => strength ** (2 * random.uniform() - 1)) }
}

function applySymmetry(vector: Float32Array, { units, tensors }: Symmetry, { order, scales }: Draw): void {
  for (const { offset, outer, inner, power } of tensors) {
    const old = vector.slice(offset, offset + outer * units * inner)
    for (let o = 0; o < outer; o++) {
      for (let unit = 0; unit < units; unit++) {
        const factor = scales[unit]! ** power
        const to = (o * units + unit) * inner
        const from = (o * units + order[unit]!) * inner
        for (let k = 0; k < inner; k++) {
          vector[offset + to + k] = factor * old[from + k]!
        }
      }
    }
  }
}

/**
 * Symmetries of a Llama-style decoder with Hugging Face's names and [out, in] matrices: the hidden units of each gated MLP (the scale goes
 * through the linear branch, never through the gate), and the groups of heads of each attention, where q grows as k shrinks and v as o does. A
 * group is one key-value head with its query heads, moved whole and with one scale, so rotary positions see no difference.
 */
export function decoderSymmetries(tensors: readonly PlacedTensor[], keyValueHeads: number): Symmetry[] {
  const found = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const symmetries: Symmetry[] = []
  for (let layer = 0; found.has(`model.layers.${layer}.mlp.gate_proj.weight`); layer++) {
    const at = (part: string): PlacedTensor => {
      const name = `model.layers.${layer}.${part}.weight`
      const tensor = found.get(name)
      if (tensor === undefined) {
        throw new StarlingError('bad-layout', `a decoder's layer has no tensor '${name}'`, { name })
      }
      return tensor
    }
    const hidden = at('mlp.gate_proj').shape[0]!
    symmetries.push({
      units: hidden,
      tensors: [
        rows(at('mlp.gate_proj'), hidden, 0),
        rows(at('mlp.up_proj'), hidden, 1),
        columns(at('mlp.down_proj'), hidden, -1),
      ],
    })
    symmetries.push({
      units: keyValueHeads,
      tensors: [
        rows(at('self_attn.q_proj'), keyValueHeads, 1),
        rows(at('self_attn.k_proj'), keyValueHeads, -1),
        rows(at('self_attn.v_proj'), keyValueHeads, 1),
        columns(at('self_attn.o_proj'), keyValueHeads, -1),
      ],
    })
  }
  return symmetries
}

function rows({ offset, shape }: PlacedTensor, units: number, power: 1 | 0 | -1): SymmetricTensor {
  return { offset, outer: 1, inner: (shape[0]! / units) * shape[1]!, power }
}

function columns({ offset, shape }: PlacedTensor, units: number, power: 1 | 0 | -1): SymmetricTensor {
  return { offset, outer: shape[0]!, inner: shape[1]! / units, power }
}
