/**
 * Elects one process for a task: the lease is an object in the store that is renewed during the task. Two processes may
 * hold it for a moment, if the store has no conditional writes or a process was stopped for long; this may only cost
 * time.
 */
import * as z from 'zod';
import type { Bytes, WritableStore } from '../weights/store.ts';
import { writing } from './errors.ts';

/**
 * A lease that is not renewed for as long is over; shorter than clients wait for the next byte, so that they do not
 * notice.
 */
const LEASE_MS = 8_000;
const RENEWAL_MS = 2_000;

/** Where the store writes in any case, the last one to write within this time has the lease. */
const SETTLING_MS = 100;

const recordSchema = z.object({ owner: z.string(), renewedMs: z.number() });
export type LeaseRecord = z.output<typeof recordSchema>;

interface LeasesOptions {
  store: WritableStore;
  leaseMs?: number;
  now?: () => number;
}

export class Leases {
  readonly #store: WritableStore;
  readonly #leaseMs: number;
  readonly #now: () => number;
  /** Whether the store refuses a second object of a name; unknown before the first try. */
  #knowsConditions: boolean | undefined;

  constructor({ store, leaseMs = LEASE_MS, now = Date.now }: LeasesOptions) {
    this.#store = store;
    this.#leaseMs = leaseMs;
    this.#now = now;
  }

  /**
   * Undefined if another process has it. A lease that was found `overdue` is taken over.
   * @throws StoreUnwritable
   */
  async acquire(name: string, overdue?: LeaseRecord): Promise<Lease | undefined> {
    const found = await this.read(name);
    if (found !== undefined) {
      const isOverdue = found.owner === overdue?.owner && found.renewedMs === overdue.renewedMs;
      if (!isOverdue && !this.#isOld(found)) return undefined;
      await writing(this.#store.delete(name));
    }
    const owner = crypto.randomUUID();
    const record = () => json({ owner, renewedMs: this.#now() });
    if (!(await writing(this.#store.putNew(name, record())))) return undefined;
    this.#knowsConditions ??= !(await writing(this.#store.putNew(name, record())));
    if (!this.#knowsConditions) {
      await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
      if ((await this.read(name))?.owner !== owner) return undefined;
    }
    return new Lease(this, this.#store, name, owner, record);
  }

  /** Undefined if no process has it. */
  async read(name: string): Promise<LeaseRecord | undefined> {
    const object = await this.#store.get(name);
    if (object === null) return undefined;
    try {
      return recordSchema.parse(JSON.parse(await new Response(object.stream).text()));
    } catch {
      return { owner: '', renewedMs: 0 };
    }
  }

  /**
   * Each call checks whether a lease is over: 'free' if no process has it, else the record that was not renewed in
   * time. It compares with the clock of the owner and with ours, because they may differ.
   */
  watch(name: string): () => Promise<'free' | LeaseRecord | undefined> {
    let seen: { record: LeaseRecord; atMs: number } | undefined;
    return async () => {
      const record = await this.read(name);
      if (record === undefined) return 'free';
      const isSame = seen?.record.owner === record.owner && seen.record.renewedMs === record.renewedMs;
      if (seen === undefined || !isSame) seen = { record, atMs: this.#now() };
      return this.#isOld(record) || this.#now() - seen.atMs > this.#leaseMs ? record : undefined;
    };
  }

  #isOld({ renewedMs }: LeaseRecord): boolean {
    return Math.abs(this.#now() - renewedMs) > this.#leaseMs;
  }
}

/** Renews itself until it is released. */
export class Lease {
  readonly #leases: Leases;
  readonly #store: WritableStore;
  readonly #name: string;
  readonly #owner: string;
  readonly #timer: ReturnType<typeof setInterval>;
  #isLost = false;
  #renewing = Promise.resolve();

  constructor(leases: Leases, store: WritableStore, name: string, owner: string, record: () => Bytes) {
    this.#leases = leases;
    this.#store = store;
    this.#name = name;
    this.#owner = owner;
    this.#timer = setInterval(() => {
      this.#renewing = this.#renewing.then(() => this.#renew(record)).catch(() => {});
    }, RENEWAL_MS);
  }

  /** Whether another process is known to have taken it. */
  get isLost(): boolean {
    return this.#isLost;
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    // A lease that is not released expires within seconds.
    if (await this.#isOwn().catch(() => false)) await this.#store.delete(this.#name).catch(() => {});
  }

  async #renew(record: () => Bytes): Promise<void> {
    if (await this.#isOwn()) await this.#store.put(this.#name, record());
    else this.#isLost = true;
  }

  async #isOwn(): Promise<boolean> {
    return !this.#isLost && (await this.#leases.read(this.#name))?.owner === this.#owner;
  }
}

function json(record: LeaseRecord): Bytes {
  return new TextEncoder().encode(JSON.stringify(record));
}
