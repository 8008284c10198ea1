/**
 * Serves the worker on this machine: `npm start [-- --port 8787 --state .wrangler/state --models models]`.
 * Needs no account and no network: the runtime is workerd, and the bucket is a folder.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const HOST = '127.0.0.1';
const POLL_INTERVAL_MS = 200;

/** Stops every call that wrangler would make to the outside on its own account. */
const OFFLINE = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true', // the banner looks for updates
  WRANGLER_WRITE_LOGS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false', // location data of the request.cf object
};

const root = join(import.meta.dirname, '..');
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8787' },
    state: { type: 'string', default: join(root, '.wrangler/state') },
    models: { type: 'string', default: join(root, 'models') },
  },
});
const url = `http://${HOST}:${options.port}`;
const configPath = join(root, 'wrangler.toml');

Object.assign(process.env, OFFLINE);
// wrangler reads its environment when it is imported.
const { storeModels } = await import('./local-bucket.ts');
const models = await storeModels(options.models, options.state, configPath);
console.log(models.length > 0 ? `models: ${models.join(', ')}` : `no model in ${options.models}: answers will be 503`);

const wrangler = join(createRequire(import.meta.url).resolve('wrangler/package.json'), '../bin/wrangler.js');
const server = spawn(
  process.execPath,
  [
    wrangler,
    'dev',
    ...['--config', configPath, '--ip', HOST, '--port', options.port, '--inspector-port', '0'],
    ...['--persist-to', options.state, '--show-interactive-dev-session=false', '--log-level', 'warn'],
  ],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => server.kill(signal));
server.on('exit', (code) => process.exit(code ?? 0));

await answering(`${url}/health`);
console.log(`serving on ${url}; try`);
console.log(
  `  curl ${url}/v1/completions -H 'content-type: application/json' ` +
    `-d '{"model":"${models[0] ?? 'nano'}","prompt":"def add(a, b):\\n    return "}'`,
);

async function answering(address: string): Promise<void> {
  for (;;) {
    const response = await fetch(address).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}
