/**
 * Several workerd processes that share one socket: started together, replaced when one dies or when there is a new
 * release, drained together.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../../src/log.ts';
import { Registry } from '../../src/metrics/registry.ts';
import type { Bundle } from './bundle.ts';
import { workerdConfig } from './config.ts';
import { Guard } from './guard.ts';
import type { Listener } from './listener.ts';
import { type Unready, WorkerdProcess } from './process.ts';
import { ProcessMetrics } from './process-metrics.ts';
import { type RateLimits, RequestCounter } from './rate-limits.ts';
import { answerWorkers } from './worker-questions.ts';

/** Delays the replacement of a process that dies immediately, to avoid an endless loop. */
const FIRST_RESTART_MS = 500;
const LONGEST_RESTART_MS = 30_000;
/** A process that has run this long resets the delay. */
const SOUND_LIFE_MS = 60_000;

/** What is run; a reload exchanges all of it. */
export interface Release {
  bundle: Bundle;
  models: string;
  /** Variables and secrets of the worker by name. */
  variables: Readonly<Record<string, string>>;
  rateLimits: RateLimits | undefined;
}

export interface SupervisorOptions {
  listener: Listener;
  /** One for each core that the service may use. */
  processes: number;
  release: Release;
  /** How long processes may finish their open requests after the signal to end. */
  drainMs: number;
}

/** A release with its files. */
interface Prepared {
  configPath: string;
  variables: Readonly<Record<string, string>>;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  /** Has configurations and sockets; only this user may read it. */
  readonly #folder: string;
  readonly #guard: Guard;
  readonly #metrics = new ProcessMetrics();
  readonly #registry = new Registry();
  readonly #deaths = this.#registry.counter('quicksilver_process_deaths_total', 'Processes that ended unasked.');
  readonly #reloads = this.#registry.counter('quicksilver_reloads_total', 'Reloads by outcome: done or refused.');
  /** Those that answer, by their place. */
  readonly #processes = new Map<number, WorkerdProcess>();
  /** All running processes: those that answer, that start, and that finish open requests. */
  readonly #living = new Set<WorkerdProcess>();
  /** Those of them that only finish what they have. */
  readonly #retiring = new Set<WorkerdProcess>();
  #server: Server | undefined;
  #release!: Prepared;
  #counter: RequestCounter | undefined;
  #launches = 0;
  #releases = 0;
  #ending = false;
  #reloading: Promise<void> = Promise.resolve();

  /** Starts all processes. Rejects when they cannot be configured. */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const folder = await mkdtemp(join(tmpdir(), 'quicksilver-serve-'));
    const guard = await Guard.start({ patienceSeconds: Math.ceil(options.drainMs / 1000), folder });
    const supervisor = new Supervisor(options, folder, guard);
    try {
      await supervisor.#open();
    } catch (error) {
      await supervisor.kill();
      throw error;
    }
    return supervisor;
  }

  private constructor(options: SupervisorOptions, folder: string, guard: Guard) {
    this.#options = options;
    this.#folder = folder;
    this.#guard = guard;
    this.#registry.gauge('quicksilver_processes', 'Running processes.', () => this.#living.size);
  }

  async #open(): Promise<void> {
    this.#server = await answerWorkers(this.#supervisorPath, {
      metrics: async () => [...this.#registry.snapshot(), ...(await this.#metrics.collect([...this.#living]))],
      // A process of an older release may ask although the new release has no limit.
      count: async (client) => (await this.#counter?.count(client)) ?? { success: true },
    });
    this.#release = await this.#prepare(this.#options.release);
    this.#limit(this.#options.release);
    for (let place = 0; place < this.#options.processes; place++) this.#occupy(place, this.#launch(this.#release), 0);
  }

  get #supervisorPath(): string {
    return join(this.#folder, 'supervisor.sock');
  }

  /** Waits until every process has its model. Resolves with what is wrong, one of each process that is not ready. */
  async ready(): Promise<Unready[]> {
    const answers = await Promise.all([...this.#processes.values()].map((process) => process.ready()));
    return answers.filter((answer) => answer !== undefined);
  }

  /**
   * Replaces the processes, one after the other, by those of another release; no connection is refused. Rejects if that
   * release cannot answer: then nothing changes.
   */
  reload(release: Release): Promise<void> {
    // One at a time, and the last one wins.
    const reloaded = this.#reloading.then(() => this.#replaceAll(release));
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  /** Refuses new requests, finishes open ones up to the deadline, and ends. */
  async stop(): Promise<void> {
    this.#ending = true;
    const deadlineMs = performance.now() + this.#options.drainMs;
    await Promise.all([...this.#living].map((process) => process.drain(deadlineMs)));
    await this.#close();
  }

  /** Ends immediately. */
  async kill(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#living].map((process) => process.end()));
    await this.#close();
  }

  async #close(): Promise<void> {
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#guard.close();
    await this.#options.listener.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #prepare({ bundle, models, variables }: Release): Promise<Prepared> {
    const configPath = join(this.#folder, `${this.#releases++}.capnp`);
    const names = Object.keys(variables);
    const folder = this.#folder;
    const config = workerdConfig({ bundle, models, variables: names, folder, supervisorPath: this.#supervisorPath });
    await writeFile(configPath, config);
    return { configPath, variables };
  }

  #limit({ rateLimits }: Release): void {
    this.#counter = rateLimits && (this.#counter?.with(rateLimits) ?? new RequestCounter(rateLimits));
  }

  #launch({ configPath, variables }: Prepared, listener: number | string = this.#options.listener.fd): WorkerdProcess {
    const process = new WorkerdProcess({
      configPath,
      controlPath: join(this.#folder, `${this.#launches++}.sock`),
      environment: variables,
      listener,
    });
    const { pid } = process;
    if (pid !== undefined) this.#guard.add(pid);
    this.#living.add(process);
    process.ended.then(() => {
      if (pid !== undefined) this.#guard.remove(pid);
      this.#living.delete(process);
      if (!this.#retiring.has(process)) this.#metrics.ended(process);
    });
    return process;
  }

  /** Puts a process in its place, where another one follows when it dies. */
  #occupy(place: number, process: WorkerdProcess, failures: number): void {
    const startedMs = performance.now();
    this.#processes.set(place, process);
    process.ended.then(async (how) => {
      if (this.#ending || this.#processes.get(place) !== process) return;
      this.#deaths.add(1);
      const inARow = performance.now() - startedMs > SOUND_LIFE_MS ? 0 : failures;
      const delayMs = Math.min(FIRST_RESTART_MS * 2 ** inARow, LONGEST_RESTART_MS);
      log('error', { message: `process ${place} ended (${how}); another one begins in ${delayMs} ms` });
      await sleep(delayMs);
      // A reload may have put another one there by now.
      if (this.#ending || this.#processes.get(place) !== process) return;
      const next = this.#launch(this.#release);
      this.#occupy(place, next, inARow + 1);
      const problem = await next.ready();
      if (this.#ending) return;
      if (problem) log('error', { message: `process ${place}: ${problem.message}` });
      else log('info', { message: `process ${place} is ready` });
    });
  }

  async #replaceAll(release: Release): Promise<void> {
    const prepared = await this.#prepare(release);
    const problem = await this.#tryOut(prepared);
    if (this.#ending) return;
    if (problem) {
      this.#reloads.add(1, { outcome: 'refused' });
      throw new Error(problem.message);
    }
    this.#release = prepared;
    this.#limit(release);
    for (let place = 0; place < this.#options.processes && !this.#ending; place++) {
      const next = this.#launch(prepared);
      const before = this.#processes.get(place)!;
      this.#occupy(place, next, 0);
      await next.ready();
      this.#retire(before);
    }
    this.#reloads.add(1, { outcome: 'done' });
  }

  /** Starts a process that no client reaches, to see whether it can answer. */
  async #tryOut(prepared: Prepared): Promise<Unready | undefined> {
    const process = this.#launch(prepared, join(this.#folder, `${this.#launches}.http.sock`));
    const problem = await process.ready();
    await process.end();
    return problem;
  }

  /** In the background: open requests may take long. */
  async #retire(process: WorkerdProcess): Promise<void> {
    this.#retiring.add(process);
    const last = await process.retire(performance.now() + this.#options.drainMs);
    this.#metrics.ended(process, last);
    this.#retiring.delete(process);
  }
}
