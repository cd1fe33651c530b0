/**
 * What set-up installs and where: the pins of the native engine, the cache folder and the paths inside the installed package.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { root } from '../files.js'

/** The TensorFlow release whose C library the native engine runs on. tfjs-node asks for 2.9; the C API has only grown since. */
export const TENSORFLOW_VERSION = '2.21.0'

/** Node-API version the binding is compiled against: the newest that the package looks for, offered by every Node we support. */
export const NAPI_VERSION = 8

/**
 * The wheels that hold the library, by platform. Any wheel of the release would do, whatever Python is installed here, since only
 * the C library is taken out; one is named so that its hash can be fixed. Linux arm64 and macOS are written for, not tried.
 */
const wheels = {
  'linux-x64': {
    distribution: 'tensorflow-cpu',
    tag: 'manylinux_2_27_x86_64',
    megabytes: 274,
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
  },
  'linux-arm64': {
    distribution: 'tensorflow',
    tag: 'manylinux_2_27_aarch64',
    megabytes: 280,
    sha256: '4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c',
  },
  'darwin-arm64': {
    distribution: 'tensorflow',
    tag: 'macosx_12_0_arm64',
    megabytes: 240,
    sha256: '51f46f4806139d01fc7920cc72a4c75876f80649bf40ff083ab6212ceb43ca88',
  },
}

/** This machine in the words of `process`, e.g. linux-x64. */
export const platform = `${process.platform}-${process.arch}`

/** The wheel for this machine, or undefined where none is published. */
export const wheel = wheels[platform]

/** Names of the two libraries inside the wheel. */
export const libraries =
  process.platform === 'darwin'
    ? { tensorflow: 'libtensorflow_cc.2.dylib', framework: 'libtensorflow_framework.2.dylib' }
    : { tensorflow: 'libtensorflow_cc.so.2', framework: 'libtensorflow_framework.so.2' }

/** Names under which the package and its own build look for the two libraries. */
export const aliases =
  process.platform === 'darwin'
    ? {
        tensorflow: ['libtensorflow_cc.2.dylib', 'libtensorflow.dylib', 'libtensorflow.2.dylib'],
        framework: ['libtensorflow_framework.2.dylib', 'libtensorflow_framework.dylib'],
      }
    : {
        tensorflow: ['libtensorflow_cc.so.2', 'libtensorflow.so', 'libtensorflow.so.2', 'libtensorflow.so.2.9.1'],
        framework: ['libtensorflow_framework.so.2', 'libtensorflow_framework.so', 'libtensorflow_framework.so.2.9.1'],
      }

/** Where staged libraries are kept between installs: STARLING_CACHE, else the user's cache folder. */
export const cache =
  process.env.STARLING_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'starling')

/** The staged library of this release and platform. */
export const staged = join(cache, `tensorflow-${TENSORFLOW_VERSION}-${platform}`)

/** The installed npm package. */
export const addon = join(root, 'node_modules', '@tensorflow', 'tfjs-node')

/** Where the package looks for its compiled binding. */
export const installedBinding = join(addon, 'lib', `napi-v${NAPI_VERSION}`, 'tfjs_binding.node')

/** What the last set-up found, read by `starling doctor`. */
export const statusFile = join(root, 'node_modules', '.cache', 'starling', 'setup.json')
