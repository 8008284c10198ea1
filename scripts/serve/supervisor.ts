/** Several workerd behind one port: started together, replaced when one dies, drained together. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bundle } from './bundle.ts';
import { workerdConfig } from './config.ts';
import { type Address, claimPort, withListener } from './listener.ts';
import { WorkerdProcess } from './process.ts';

/** A process that dies at once is not replaced at once, for ever. */
const FIRST_RESTART_MS = 500;
const LONGEST_RESTART_MS = 30_000;
/** One that has lived so long begins anew with the first delay. */
const SOUND_LIFE_MS = 60_000;

export interface SupervisorOptions {
  address: Address;
  /** One for each core that the service may use. */
  processes: number;
  bundle: Bundle;
  models: string;
  /** Variables and secrets of the worker by name. */
  variables: Readonly<Record<string, string>>;
  /** Told what an operator should know. */
  log: (line: string) => void;
}

export class Supervisor {
  readonly port: number;
  readonly #options: SupervisorOptions;
  /** Holds the configuration and the control sockets; nobody else may enter. */
  readonly #folder: string;
  readonly #configPath: string;
  readonly #processes = new Map<number, WorkerdProcess>();
  #ending = false;

  /** Rejects when the address cannot be listened at. */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const port = await claimPort(options.address);
    const folder = await mkdtemp(join(tmpdir(), 'quicksilver-serve-'));
    const configPath = join(folder, 'workerd.capnp');
    const { bundle, models, variables } = options;
    await writeFile(configPath, workerdConfig({ bundle, models, variables: Object.keys(variables), folder }));
    const supervisor = new Supervisor(options, port, folder, configPath);
    await withListener({ ...options.address, port }, (listener) => {
      for (let index = 0; index < options.processes; index++) supervisor.#launch(index, listener, 0);
    });
    return supervisor;
  }

  private constructor(options: SupervisorOptions, port: number, folder: string, configPath: string) {
    this.#options = options;
    this.port = port;
    this.#folder = folder;
    this.#configPath = configPath;
  }

  /** Waits until every process has its model. Resolves with what is wrong, an answer of `/ready` each. */
  async ready(): Promise<string[]> {
    const answers = await Promise.all([...this.#processes.values()].map((process) => process.ready()));
    return answers.filter((answer) => answer !== undefined);
  }

  /** Takes no new requests, finishes those under way but for those that take longer, and ends. */
  async stop(patienceMs: number): Promise<void> {
    this.#ending = true;
    const deadline = AbortSignal.timeout(patienceMs);
    await Promise.all([...this.#processes.values()].map((process) => process.drain(deadline)));
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Ends at once. */
  async kill(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#processes.values()].map((process) => process.end()));
    await rm(this.#folder, { recursive: true, force: true });
  }

  #launch(index: number, listener: number, failures: number): void {
    const { variables, log } = this.#options;
    const startedMs = performance.now();
    const process = new WorkerdProcess({
      configPath: this.#configPath,
      controlPath: join(this.#folder, `${index}.${failures}.sock`),
      environment: variables,
      listener,
    });
    this.#processes.set(index, process);
    process.ended.then(async (how) => {
      if (this.#ending) return;
      const inARow = performance.now() - startedMs > SOUND_LIFE_MS ? 0 : failures;
      const delayMs = Math.min(FIRST_RESTART_MS * 2 ** inARow, LONGEST_RESTART_MS);
      log(`process ${index} ended (${how}); another one begins in ${delayMs} ms`);
      await sleep(delayMs);
      await this.#replace(index, inARow + 1);
    });
  }

  async #replace(index: number, failures: number): Promise<void> {
    if (this.#ending) return;
    const address = { ...this.#options.address, port: this.port };
    try {
      await withListener(address, (listener) => this.#launch(index, listener, failures));
    } catch (error) {
      this.#options.log(`process ${index} cannot begin: ${error instanceof Error ? error.message : error}`);
      await sleep(LONGEST_RESTART_MS);
      return this.#replace(index, failures);
    }
    const problem = await this.#processes.get(index)?.ready();
    if (!this.#ending) this.#options.log(problem ? `process ${index}: ${problem}` : `process ${index} is ready`);
  }
}
