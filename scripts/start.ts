/**
 * Serves the worker on this machine: `npm start [-- --port 8787 --host 127.0.0.1 --state .wrangler/state --models
 * models --model small,nano]`. Needs no account and no network: the runtime is workerd, and the bucket is a folder.
 * Settings and keys come from .dev.vars, or from the files given with `--env-file`. `--log-level log` shows the log
 * line of each request.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import prompts from '../examples/prompts.json' with { type: 'json' };
import type { StoredModel } from '../src/engine/types.ts';
import { WeightsDamaged } from '../src/weights/errors.ts';
import { accessOf, LOOPBACK } from './access.ts';
import { bytesText } from './models/progress.ts';
import { Guard } from './serve/guard.ts';
import { onEnd } from './signals.ts';
import { definedRevision, OFFLINE, WRANGLER } from './wrangler.ts';

const POLL_INTERVAL_MS = 200;

/** wrangler takes less to end its workerd. */
const END_SECONDS = 10;

const root = join(import.meta.dirname, '..');
const options = readOptions();
const url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
const envFiles = options['env-file'];
const configPath = join(root, 'wrangler.toml');

Object.assign(process.env, OFFLINE);
// wrangler reads its environment when it is imported.
const { storeModels } = await import('./local-bucket.ts');
const { readLocalSettings } = await import('./local-settings.ts');
const { settings, hasOtherStore } = await readLocalSettings(configPath, envFiles, options.model).catch(cannotStart);
if (settings.keys.length === 0 && !LOOPBACK.test(options.host)) {
  cannotStart(new Error(`--host ${options.host} can be reached by others and needs API_KEYS, see docs/operating.md`));
}
console.log(accessOf(settings));
const stored = storeModels(options.models, options.state, configPath, settings.models);
const { models, found } = await stored.catch(cannotStart);
const lacking = settings.models.filter((model) => !found.has(model));
if (models.length > 0 && !hasOtherStore && lacking.length > 0) {
  cannotStart(new Error(`MODEL ${lacking.join(', ')} is not in the store, which has ${models.join(', ')}`));
}
if (lacking.length === settings.models.length && !hasOtherStore) {
  console.log(`no model in ${options.models}: answers will be 503`);
}
for (const [index, model] of settings.models.entries()) {
  console.log(`model ${model}${index === 0 ? ' (default)' : ''}: ${described(found.get(model))}`);
}

const server = spawn(
  process.execPath,
  [
    WRANGLER,
    'dev',
    ...definedRevision(configPath),
    ...['--config', configPath, '--ip', options.host, '--port', options.port, '--inspector-port', '0'],
    ...(envFiles ?? []).flatMap((file) => ['--env-file', file]),
    ...(options.model === undefined ? [] : ['--var', `MODEL:${options.model}`]),
    ...['--persist-to', options.state, '--show-interactive-dev-session=false', '--log-level', options['log-level']],
  ],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
// Before anything is awaited: a server that cannot start ends at once, and its end must not be missed.
let guard: Guard | undefined;
server.on('exit', (code) => {
  if (server.pid !== undefined) guard?.remove(server.pid);
  process.exit(code ?? 0);
});
onEnd(
  () => server.kill('SIGTERM'),
  () => server.kill('SIGTERM'),
);
guard = await Guard.start({ patienceSeconds: END_SECONDS });
if (server.pid !== undefined) guard.add(server.pid);

await answering(`${url}/health`);
console.log(`serving on ${url}; try`);
const [byDefault] = settings.models;
const isAnswered = ({ models }: { models: readonly string[] }) => byDefault !== undefined && models.includes(byDefault);
const example = prompts.find(isAnswered) ?? prompts[0]!;
const body = { model: byDefault, prompt: example.prompt, suffix: example.suffix, max_tokens: 16, editor: true };
// In single quotes a shell reads all but the single quote as it is.
const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
console.log(`  curl ${url}/v1/completions -H 'content-type: application/json' -d '${quoted}'`);

function readOptions() {
  try {
    return parseArgs({
      options: {
        port: { type: 'string', default: '8787' },
        host: { type: 'string', default: '127.0.0.1' },
        'env-file': { type: 'string', multiple: true },
        'log-level': { type: 'string', default: 'warn' },
        state: { type: 'string', default: join(root, '.wrangler/state') },
        models: { type: 'string', default: join(root, 'models') },
        model: { type: 'string' },
      },
    }).values;
  } catch (error) {
    return cannotStart(error);
  }
}

function described(model: StoredModel | WeightsDamaged | undefined): string {
  if (model === undefined) return 'not in the bucket';
  if (model instanceof WeightsDamaged) return model.message;
  const { size, parameters, languages } = model;
  const facts = [
    ...(parameters === undefined ? [] : [`${(parameters / 1e6).toFixed(1)} million parameters`]),
    bytesText(size),
    ...languages,
  ];
  return facts.join(', ');
}

function cannotStart(error: unknown): never {
  console.error(`cannot start: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

async function answering(address: string): Promise<void> {
  for (;;) {
    const response = await fetch(address).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}
