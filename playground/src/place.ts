/**
 * Where the denoiser runs: in the service at the configured address, or in Web Workers of this page, one for each
 * model, that start at first use.
 */
import { element, find } from './dom.ts';
import { BrowserService } from './local/browser-service.ts';
import type { Progress } from './local/model-source.ts';
import { type Answerer, serviceAt } from './service/answerer.ts';
import { type ModelInfo, modelsOf } from './service/completions.ts';
import { baseUrlOf, type Place, type Settings, saveSettings } from './settings.ts';

const MEGABYTE = 1e6;

/** That of the editor and that of the stage. */
const MAX_WORKERS = 2;

type Models = readonly [ModelInfo, ...ModelInfo[]];

export interface Ready {
  answerer: Answerer;
  model: ModelInfo;
  /** All that the page can ask, the default first. */
  models: Models;
}

export class Places {
  readonly #settings: Settings;
  #listed: Promise<Models> | undefined;
  /** By the name of the model, the one that was asked last at the end. */
  readonly #workers = new Map<string, Promise<BrowserService>>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  get current(): Place {
    return this.#settings.place;
  }

  /** Moves to a place, or connects again after changed settings or a failure. */
  move(place: Place): void {
    this.#settings.place = place;
    saveSettings(this.#settings);
    this.#listed = undefined;
    if (place === 'service') for (const id of [...this.#workers.keys()]) this.#end(id);
  }

  /**
   * The answerer and the model that `choose` takes; by default the user's, or else the service's. Rejects with Problem
   * or TypeError; the next call tries again.
   */
  async ready(choose: (models: Models) => ModelInfo = (models) => this.#own(models)): Promise<Ready> {
    const service = serviceAt({ baseUrl: baseUrlOf(this.#settings), key: this.#settings.key });
    const inBrowser = this.#settings.place === 'browser';
    const models = await this.#models(service).catch((error: unknown) => {
      if (inBrowser && error instanceof TypeError && this.#settings.model !== '') return undefined;
      throw error;
    });
    // Without a network there is the model that was used last.
    if (models === undefined) {
      const answerer = await this.#worker(this.#settings.model);
      const kept = await modelsOf(answerer);
      return { answerer, model: choose(kept), models: kept };
    }
    const model = choose(models);
    return { answerer: inBrowser ? await this.#worker(model.id) : service, model, models };
  }

  #own(models: Models): ModelInfo {
    const model = models.find(({ id }) => id === this.#settings.picked) ?? models[0];
    this.#settings.model = model.id;
    saveSettings(this.#settings);
    offerModels(models, model.id, this.#settings.place);
    return model;
  }

  #models(service: Answerer): Promise<Models> {
    if (this.#listed === undefined) {
      const listed = modelsOf(service);
      listed.catch(() => {
        if (this.#listed === listed) this.#listed = undefined;
      });
      this.#listed = listed;
    }
    return this.#listed;
  }

  #worker(model: string): Promise<BrowserService> {
    const worker = this.#workers.get(model) ?? this.#start(model);
    this.#workers.delete(model);
    this.#workers.set(model, worker);
    for (const id of [...this.#workers.keys()].slice(0, -MAX_WORKERS)) this.#end(id);
    return worker;
  }

  async #start(model: string): Promise<BrowserService> {
    const { key } = this.#settings;
    const show = (progress: Progress) => showLoading(model, progress);
    show({ loadedBytes: 0, totalBytes: 0, fromCache: false });
    try {
      return await BrowserService.start({ baseUrl: baseUrlOf(this.#settings), key, model }, show);
    } catch (error) {
      this.#workers.delete(model);
      throw error;
    } finally {
      find('loading', HTMLElement).hidden = true;
    }
  }

  #end(model: string): void {
    const worker = this.#workers.get(model);
    this.#workers.delete(model);
    worker?.then(
      (started) => started.stop(),
      () => {},
    );
  }
}

/** Fills the choice of models; those that run here have a size to be fetched. */
function offerModels(models: Models, current: string, place: Place): void {
  const select = find('model', HTMLSelectElement);
  select.replaceChildren(
    ...models.map(({ id, sizeBytes }) => {
      const size = place === 'browser' && sizeBytes !== undefined ? ` · ${megabytes(sizeBytes)} MB` : '';
      return element('option', { value: id }, id + size);
    }),
  );
  select.value = current;
  select.hidden = models.length < 2;
  // It would say the same.
  find('model-chip', HTMLElement).hidden = !select.hidden;
}

function megabytes(bytes: number): string {
  return (bytes / MEGABYTE).toFixed(1);
}

function showLoading(model: string, { loadedBytes, totalBytes, fromCache }: Progress): void {
  const bar = find('loading-bar', HTMLProgressElement);
  find('loading', HTMLElement).hidden = false;
  bar.value = totalBytes > 0 ? loadedBytes / totalBytes : 0;
  const verb = fromCache ? 'Reading the kept weights' : 'Fetching the weights';
  const amount = totalBytes > 0 ? `: ${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB` : '';
  find('loading-text', HTMLElement).textContent = `${verb} of ${model}${amount}`;
}
