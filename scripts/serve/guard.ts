/** Ensures that no process outlives the one that started it, even if that one is killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { join } from 'node:path';

export interface GuardOptions {
  /** How long processes may continue with their open requests after their parent has ended. */
  patienceSeconds: number;
  /** Removed when they have ended. */
  folder?: string;
}

export class Guard {
  readonly #input: Socket;

  /** Starts guard.sh, which goes to the background and is not a child of this process. */
  static async start({ patienceSeconds, folder }: GuardOptions): Promise<Guard> {
    const script = join(import.meta.dirname, 'guard.sh');
    const child = spawn('sh', [script, String(patienceSeconds), ...(folder === undefined ? [] : [folder])], {
      cwd: '/',
      // Away from the terminal, whose signals are for this process.
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    // Not standard input, which Node closes when the child exits.
    const input = child.stdio[3] as Socket;
    // It must neither keep this process alive nor end it.
    input.on('error', () => {}).unref();
    await once(child, 'exit');
    return new Guard(input);
  }

  private constructor(input: Socket) {
    this.#input = input;
  }

  add(pid: number): void {
    this.#input.write(`+ ${pid}\n`);
  }

  /** The process has ended: its id may soon be another's. */
  remove(pid: number): void {
    this.#input.write(`- ${pid}\n`);
  }

  close(): void {
    this.#input.end();
  }
}
