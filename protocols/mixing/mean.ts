/** Plain gossip averaging: every message pulls with its share. No robustness: one hostile message is enough. */
import type { MixingRule } from './types.ts'

/** The weighted mean of own and received, e.g. gossip learning (Ormándi, Hegedűs & Jelasity 2013). */
export const mean: MixingRule = ({ shares }) => [...shares]
