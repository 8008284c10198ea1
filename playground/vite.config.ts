/** Builds the playground into build/playground, the static assets of the worker. Run by `npm run build:playground`. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { precache } from './precache.ts';
import { smallerZod } from './smaller-zod.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here('.'),
  base: '/',
  // The verification of weights uses SHA-256 of Node's module, which Workers have and browsers do not.
  resolve: { alias: { 'node:crypto': here('src/local/node-crypto.ts') } },
  plugins: [precache()],
  worker: { format: 'es', plugins: () => [smallerZod()] },
  build: {
    outDir: here('../build/playground'),
    emptyOutDir: true,
    target: 'es2023',
    // The content security policy allows no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: here('index.html'), 'service-worker': here('service-worker/service-worker.ts') },
      output: {
        // A service worker must keep its URL.
        entryFileNames: ({ name }) => (name === 'service-worker' ? '[name].js' : 'assets/[name]-[hash].js'),
      },
    },
  },
});
