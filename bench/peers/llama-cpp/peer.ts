/** llama.cpp in a process of its own, which measures its own CPU time: peer.py. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PYTHON } from './install.ts';

const SCRIPT = fileURLToPath(new URL('peer.py', import.meta.url));

/** See peer.py. */
export type Command = { readonly cache: string; readonly maxTokens: number } & {
  readonly tokens?: readonly number[];
  readonly prefix?: string;
  readonly suffix?: string;
  readonly suffixFirst?: boolean;
  readonly cold?: boolean;
  readonly ignoreEnd?: boolean;
};

export interface Answer {
  /** CPU milliseconds of the process, user and system. */
  readonly ms: number;
  /** Tokens of the prompt that were computed. */
  readonly read: number;
  readonly tokens: readonly number[];
  readonly text: string;
}

interface About {
  readonly version: string;
  /** What llama.cpp was compiled for. */
  readonly system: string;
  /** SHA-256 of the weights that the GGUF was made from. */
  readonly weights: string;
}

export class LlamaCpp {
  readonly about: About;
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, about: About) {
    this.#process = child;
    this.#lines = lines;
    this.about = about;
  }

  /** Throws when the model cannot be loaded. */
  static async open(gguf: string): Promise<LlamaCpp> {
    const child = spawn(PYTHON, [SCRIPT, gguf], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new LlamaCpp(child, lines, (await nextOf(child, lines)) as About);
  }

  async complete(command: Command): Promise<Answer> {
    this.#process.stdin!.write(`${JSON.stringify(command)}\n`);
    return (await nextOf(this.#process, this.#lines)) as Answer;
  }

  close(): void {
    this.#process.stdin!.end();
  }
}

async function nextOf(child: ChildProcess, lines: AsyncIterator<string>): Promise<unknown> {
  const { done, value } = await lines.next();
  if (done) {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    throw new Error(`the process of llama.cpp has ended: ${child.signalCode ?? `status ${child.exitCode}`}`);
  }
  return JSON.parse(value);
}
