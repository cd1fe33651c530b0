/**
 * The direction of imports, checked over the compiled files (see docs/architecture.md): kernels carry models and protocols, these two
 * never know each other, the simulator stands on all three, the daemon on these and for one command on the simulator, and tests may import anything.
 */
const folders = ['kernels', 'models', 'protocols', 'simulator', 'daemon']

/** What each folder may stand on, beside itself. */
const below = {
  kernels: [],
  models: ['kernels'],
  protocols: ['kernels'],
  simulator: ['kernels', 'models', 'protocols'],
  daemon: ['kernels', 'models', 'protocols', 'simulator'],
}

const test = '[.]test[.]js$'

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'Two files that import each other have no order in which to be read or started.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    ...folders.map((folder) => ({
      name: `direction-of-${folder}`,
      comment: `${folder} stands on ${below[folder].join(', ') || 'nothing'} only.`,
      severity: 'error',
      from: { path: `^dist/${folder}/`, pathNot: test },
      to: {
        path: `^dist/(${[...folders, 'tests'].filter((name) => name !== folder && !below[folder].includes(name)).join('|')})/`,
      },
    })),
    ...folders.map((folder) => ({
      name: `front-door-of-${folder}`,
      comment: `Other folders import ${folder} through its index.js, so that what is inside can change.`,
      severity: 'error',
      from: { path: '^dist/', pathNot: [`^dist/${folder}/`, '^dist/tests/', test] },
      to: { path: `^dist/${folder}/`, pathNot: `^dist/${folder}/index[.]js$` },
    })),
    {
      name: 'no-test-in-code',
      comment: 'What runs in production does not need its tests.',
      severity: 'error',
      from: { pathNot: ['^dist/tests/', test] },
      to: { path: test },
    },
    {
      name: 'resolvable',
      comment: 'An import that names nothing fails at run time.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'declared-dependencies',
      comment: 'A package that another package happens to bring may vanish with it.',
      severity: 'error',
      from: { path: '^dist/', pathNot: test },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // The page's modules run in a browser, where the import map in its HTML resolves package names.
    exclude: { path: '^dist/daemon/page/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
}
