export * from '../world.ts'
