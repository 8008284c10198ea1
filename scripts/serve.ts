/**
 * Serves the bundled worker with plain workerd: `npm run serve [-- --host 127.0.0.1 --port 8787 --processes 1 --models
 * models]`. No account, no wrangler, no network. Settings are environment variables, or lines of the files given with
 * `--env-file`; docs/deploy.md.
 *
 * SIGTERM, SIGINT and SIGHUP: new requests are refused and open ones are finished, for at most `--drain-seconds`; a
 * second signal ends at once. SIGUSR2: settings and bundle are read again and the processes replaced, without losing an
 * answer or a connection.
 */
import { log, logError } from '../src/log.ts';

logOwnTroubles();
try {
  // What cannot be imported, such as a workerd that is not installed, is an error of the start like others.
  const { serve } = await import('./serve/command.ts');
  await serve();
} catch (error) {
  log('error', { message: `cannot start: ${error instanceof Error ? error.message : error}` });
  process.exit(1);
}

/** What Node would write as text, in the form of the log. The guard ends the processes of a supervisor that fails. */
function logOwnTroubles(): void {
  // The reader of the log may have ended; open requests are still finished.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  process.removeAllListeners('warning').on('warning', ({ message }) => log('warn', { message }));
  process.on('uncaughtException', (error) => {
    logError('supervisor', error);
    process.exit(1);
  });
}
