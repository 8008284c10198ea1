/**
 * Test projects: `unit` runs in Node, `without-avx` runs some of its tests again in a Node that does not use AVX,
 * `workerd` runs inside the Workers runtime with real bindings, `service` in Node against a whole worker that listens
 * on a port, `browser` in Node against the playground in a Chromium, where there is one. A test that needs the Workers
 * runtime ends in `.workerd.test.ts`.
 */
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

/** No test is about time: the limit only ends what hangs. */
const BUSY_MACHINE_MS = 60_000;

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          testTimeout: BUSY_MACHINE_MS,
          hookTimeout: 2 * BUSY_MACHINE_MS,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.workerd.test.ts', 'test/service/**', 'test/browser/**'],
        },
      },
      // V8 computes relaxed SIMD wrongly there; the flag is one of x86-64.
      ...(process.arch === 'x64'
        ? [
            {
              test: {
                name: 'without-avx',
                testTimeout: BUSY_MACHINE_MS,
                hookTimeout: 2 * BUSY_MACHINE_MS,
                execArgv: ['--no-enable-avx'],
                include: ['test/{assembly,denoiser,engine}/**/*.test.ts'],
                exclude: ['test/**/*.workerd.test.ts'],
              },
            },
          ]
        : []),
      {
        plugins: [cloudflareTest({ wrangler: { configPath: './wrangler.toml' }, remoteBindings: false })],
        test: { name: 'workerd', testTimeout: BUSY_MACHINE_MS, include: ['test/**/*.workerd.test.ts'] },
      },
      {
        test: {
          name: 'service',
          globalSetup: 'test/service/bundle.ts',
          include: ['test/service/**/*.test.ts'],
          // Bundling and starting the runtime on a busy machine takes seconds.
          testTimeout: 2 * BUSY_MACHINE_MS,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          expect: { poll: { timeout: 20_000 } },
          testTimeout: 2 * BUSY_MACHINE_MS,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
