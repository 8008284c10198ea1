/** When a serving script has to end: after a signal, or after the end of the npm process that started it. */

/**
 * Ctrl-C in a terminal reaches npm and its script, and npm passes it on: the script gets it twice. A second signal
 * within this time is not a second request to end.
 */
const ECHO_MS = 1_000;

/** npm only passes on SIGINT and SIGTERM, and can be killed. Node does not report the end of a parent. */
const PARENT_POLL_MS = 500;

const END_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Calls `end` once, and `endNow` when there is a second signal. */
export function onEnd(end: (why: string) => void, endNow: () => void): void {
  let firstMs: number | undefined;
  const told = (why: string) => {
    if (firstMs === undefined) {
      firstMs = performance.now();
      end(why);
    } else if (performance.now() - firstMs > ECHO_MS) endNow();
  };
  for (const signal of END_SIGNALS) process.on(signal, () => told(signal));
  if (process.env.npm_lifecycle_event !== undefined) {
    onParentGone(() => firstMs === undefined && told('npm has ended'));
  }
}

function onParentGone(gone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    gone();
  }, PARENT_POLL_MS);
  timer.unref();
}
