/**
 * Loads the native engine and multiplies two matrices. Runs in a process of its own: a library built for another processor ends the
 * process that loads it.
 */
import { createRequire } from 'node:module'
import util from 'node:util'

process.env.TF_CPP_MIN_LOG_LEVEL ??= '3'
// Node 23 took this function away, and the package calls it.
util.isNullOrUndefined ??= (value) => value === null || value === undefined

const tf = createRequire(import.meta.url)('@tensorflow/tfjs-node')
const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]))
const values = [...product.dataSync()].join()
if (values !== '19,22,43,50') throw new Error(`the product of two matrices came out as ${values}`)
console.log(tf.backend().binding?.TF_Version ?? 'unknown version')
