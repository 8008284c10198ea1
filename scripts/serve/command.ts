/** The command line of `npm run serve`: options, the socket, the supervisor, and what signals do. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { log, logInfo } from '../../src/log.ts';
import type { Settings } from '../../src/settings.ts';
import { accessOf, LOOPBACK } from '../access.ts';
import { onEnd } from '../signals.ts';
import { BUNDLE_FOLDER } from './bundle.ts';
import { inheritedListener, Listener } from './listener.ts';
import { type ReadRelease, type ReleaseOptions, readRelease } from './release.ts';
import { Supervisor } from './supervisor.ts';

const root = join(import.meta.dirname, '../..');

const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 8787;

/** By then a request has ended by its time limit, 30 s unless set otherwise. */
const DEFAULT_DRAIN_SECONDS = 35;

/** Longer times do not fit the timers of JavaScript. */
const MAX_DRAIN_SECONDS = Math.floor((2 ** 31 - 1) / 1000);
const MAX_PROCESSES = 1024;

const OPTIONS = {
  host: { type: 'string' },
  port: { type: 'string' },
  processes: { type: 'string' },
  models: { type: 'string', default: join(root, 'models') },
  bundle: { type: 'string', default: join(root, BUNDLE_FOLDER) },
  'env-file': { type: 'string', multiple: true, default: [] as string[] },
  'drain-seconds': { type: 'string' },
} as const;

/** Resolves when the service is ready. Throws Error for what cannot be served. */
export async function serve(): Promise<void> {
  const { values: options } = parseArgs({ options: OPTIONS });
  const processes = count('processes', options.processes, 1, 1, MAX_PROCESSES);
  const drainMs = count('drain-seconds', options['drain-seconds'], DEFAULT_DRAIN_SECONDS, 0, MAX_DRAIN_SECONDS) * 1000;
  const files = { bundle: options.bundle, models: options.models, envFiles: options['env-file'] };
  const read = await readRelease(files);
  const listener = await openListener(options, read.settings);
  logInfo(accessOf(read.settings));

  const starting = Supervisor.start({ listener, processes, release: read.release, drainMs });
  // Before the first process runs: a signal without a handler would end this one, and leave that one behind.
  endOnSignals(starting);
  const supervisor = await starting;
  reloadOnSignal(supervisor, files, listener.address.host);
  await requireReady(supervisor, read);
  const { host, port } = listener.address;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  logInfo(`serving ${read.settings.models.join(', ')} on ${url} with ${processes} process(es)`);
}

/** The socket that was handed over, or one of its own. */
async function openListener(options: { host?: string; port?: string }, settings: Settings): Promise<Listener> {
  const inherited = inheritedListener(process.env, process.pid);
  if (inherited !== undefined && (options.host ?? options.port) !== undefined) {
    throw new Error('--host and --port do nothing where a listening socket is handed over (LISTEN_FDS)');
  }
  const { host = DEFAULT_HOST } = options;
  if (inherited === undefined) requireKeys(settings, host);
  const port = count('port', options.port, DEFAULT_PORT, 0, 65_535);
  const listener = await Listener.open(inherited ?? { host, port });
  requireKeys(settings, listener.address.host);
  return listener;
}

function requireKeys({ keys }: Settings, host: string): void {
  if (keys.length > 0 || LOOPBACK.test(host)) return;
  throw new Error(`--host ${host} can be reached by others and needs API_KEYS, see docs/operating.md`);
}

/** Continues without a model that may be stored later. Throws if waiting does not help. */
async function requireReady(supervisor: Supervisor, { isModelNamed }: ReadRelease): Promise<void> {
  for (const { message, isFinal, unknownModels } of await supervisor.ready()) {
    const isUnknown = unknownModels.length > 0 && isModelNamed;
    if (isFinal || isUnknown) {
      await supervisor.kill();
      throw new Error(isUnknown ? `MODEL ${unknownModels.join(', ')} is not in the store: ${message}` : message);
    }
    log('warn', { message: `not ready: ${message}` });
  }
}

function endOnSignals(starting: Promise<Supervisor>): void {
  const exit = () => process.exit(0);
  // A start that fails ends by itself, with its reason.
  const failed = () => {};
  onEnd(
    (why) => {
      logInfo(`${why}: finishing what is under way`);
      starting.then((supervisor) => supervisor.stop().then(exit), failed);
    },
    () => {
      starting.then((supervisor) => supervisor.kill().then(exit), failed);
    },
  );
}

function reloadOnSignal(supervisor: Supervisor, files: ReleaseOptions, host: string): void {
  process.on('SIGUSR2', async () => {
    try {
      const { release, settings } = await readRelease(files);
      requireKeys(settings, host);
      await supervisor.reload(release);
      logInfo(`reloaded; ${accessOf(settings)}`);
    } catch (error) {
      log('error', { message: `not reloaded, all is as before: ${error instanceof Error ? error.message : error}` });
    }
  });
}

function count(name: string, text: string | undefined, byDefault: number, least: number, most: number): number {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name} ${text} is not a whole number from ${least} to ${most}`);
}
