/**
 * Serves the bundled worker with plain workerd: `npm run serve [-- --host 127.0.0.1 --port 8787 --processes 1 --models models]`. No account,
 * no wrangler, no network. Settings are environment variables, or lines of the files given with `--env-file`; see docs/deploy.md.
 *
 * On SIGTERM or SIGINT new requests are refused and those under way are finished, for at most `--drain-seconds`; a second signal ends at once.
 */
import { access, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs, parseEnv } from 'node:util';
import { MIRROR_SETTING_NAMES, readMirrorSettings } from '../src/mirror/settings.ts';
import { readSettings, SETTING_NAMES } from '../src/settings.ts';
import { readWeightSettings, WEIGHT_SETTING_NAMES } from '../src/weights/settings.ts';
import { accessOf, LOOPBACK } from './access.ts';
import { BUNDLE_FOLDER, readBundle } from './serve/bundle.ts';
import { Supervisor } from './serve/supervisor.ts';
import { workerVariables } from './serve/variables.ts';

const root = join(import.meta.dirname, '..');

/** Behind it a request is over by its time limit, 30 s unless set otherwise. */
const DEFAULT_DRAIN_SECONDS = '35';

const { values: options } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '8787' },
    processes: { type: 'string', default: '1' },
    models: { type: 'string', default: join(root, 'models') },
    bundle: { type: 'string', default: join(root, BUNDLE_FOLDER) },
    'env-file': { type: 'string', multiple: true, default: [] },
    'drain-seconds': { type: 'string', default: DEFAULT_DRAIN_SECONDS },
  },
});

try {
  await serve();
} catch (error) {
  console.error(`cannot start: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

async function serve(): Promise<void> {
  const { host } = options;
  const port = count('port', 0);
  const processes = count('processes', 1);
  const drainMs = count('drain-seconds', 0) * 1000;
  const models = resolve(options.models);
  await access(models);

  const files = await Promise.all(options['env-file'].map((file) => readFile(file, 'utf8')));
  const variables = workerVariables(Object.assign({}, ...files.map(parseEnv), process.env), [
    ...SETTING_NAMES,
    ...WEIGHT_SETTING_NAMES,
    ...MIRROR_SETTING_NAMES,
  ]);
  readWeightSettings(variables);
  readMirrorSettings(variables);
  const settings = readSettings(variables);
  if (settings.keys.length === 0 && !LOOPBACK.test(host)) {
    throw new Error(`--host ${host} can be reached by others and needs API_KEYS, see docs/operating.md`);
  }
  console.log(accessOf(settings));

  const supervisor = await Supervisor.start({
    address: { host, port },
    processes,
    bundle: await readBundle(resolve(options.bundle)),
    models,
    variables,
    log: (line) => console.error(line),
  });
  endOnSignals(supervisor, drainMs);
  for (const problem of await supervisor.ready()) console.error(`not ready: ${problem}`);
  const name = host.includes(':') ? `[${host}]` : host;
  console.log(`serving ${variables.MODEL} on http://${name}:${supervisor.port} with ${processes} process(es)`);
}

function endOnSignals(supervisor: Supervisor, drainMs: number): void {
  let ending = false;
  const end = async () => {
    if (ending) return supervisor.kill();
    ending = true;
    console.log('finishing what is under way');
    await supervisor.stop(drainMs);
    process.exit(0);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}

function count(name: 'port' | 'processes' | 'drain-seconds', least: number): number {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < least)
    throw new Error(`--${name} ${options[name]} is not a number of at least ${least}`);
  return value;
}
