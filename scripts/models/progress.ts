/** Progress of a transfer: a bar on a terminal; elsewhere a line at the end of each file. */

const WIDTH = 30;

/** Redrawing more often only costs time. */
const REDRAW_MS = 100;

/** The output for the progress. */
export interface Screen {
  isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export interface Progress {
  /** `bytes` are done so far. */
  at(bytes: number): void;
  /** Ends the line with the outcome. */
  end(outcome: string): void;
}

export function progressOf(name: string, total: number, screen: Screen, now: () => number = Date.now): Progress {
  const startMs = now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let done = 0;
  const line = () => {
    const share = total === 0 ? 1 : done / total;
    const filled = Math.round(share * WIDTH);
    const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
    const seconds = (now() - startMs) / 1000;
    const rate = seconds > 0 ? `${bytesText(done / seconds)}/s` : '';
    return `${name}  ${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${bytesText(done)} of ${bytesText(total)}  ${rate}`;
  };
  return {
    at(bytes) {
      done = bytes;
      if (!screen.isTTY || now() - drawnMs < REDRAW_MS) return;
      drawnMs = now();
      screen.write(`\r\x1b[K${line()}`);
    },
    end(outcome) {
      screen.write(`${screen.isTTY ? '\r\x1b[K' : ''}${name}  ${bytesText(total)}  ${outcome}\n`);
    },
  };
}

/** A readable size: three digits and a unit. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const exponent = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const value = bytes / 1024 ** exponent;
  return `${exponent === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[exponent]}`;
}
