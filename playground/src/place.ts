/** Where the denoiser runs: in the service at the configured address, or in a Web Worker that starts at first use. */
import { element, find } from './dom.ts';
import { BrowserService } from './local/browser-service.ts';
import type { Progress } from './local/model-source.ts';
import { type Answerer, serviceAt } from './service/answerer.ts';
import { type ModelInfo, modelsOf } from './service/completions.ts';
import { baseUrlOf, type Place, type Settings, saveSettings } from './settings.ts';

const MEGABYTE = 1e6;

export interface Ready {
  answerer: Answerer;
  model: ModelInfo;
}

export class Places {
  readonly #settings: Settings;
  #ready: Promise<Ready> | undefined;
  #browser: BrowserService | undefined;

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
    this.#ready = undefined;
  }

  /** The answerer and its model. Rejects with Problem or TypeError; the next call tries again. */
  ready(): Promise<Ready> {
    if (this.#ready === undefined) {
      const made = this.#settings.place === 'browser' ? this.#inBrowser() : this.#atService();
      made.catch(() => {
        if (this.#ready === made) this.#ready = undefined;
      });
      this.#ready = made;
    }
    return this.#ready;
  }

  async #atService(): Promise<Ready> {
    const answerer = this.#service();
    return { answerer, model: await this.#picked(answerer) };
  }

  #service(): Answerer {
    return serviceAt({ baseUrl: baseUrlOf(this.#settings), key: this.#settings.key });
  }

  /** The model that the user has picked, if the service has it, or its default; the others are offered. */
  async #picked(service: Answerer): Promise<ModelInfo> {
    const models = await modelsOf(service);
    const model = models.find(({ id }) => id === this.#settings.picked) ?? models[0];
    this.#settings.model = model.id;
    saveSettings(this.#settings);
    offerModels(models, model.id, this.#settings.place);
    return model;
  }

  async #inBrowser(): Promise<Ready> {
    this.#browser?.stop();
    this.#browser = undefined;
    const { key } = this.#settings;
    // Without a network the last model is kept here.
    const model = await this.#picked(this.#service()).then(
      ({ id }) => id,
      (error: unknown) => {
        if (error instanceof TypeError && this.#settings.model !== '') return this.#settings.model;
        throw error;
      },
    );
    showLoading({ loadedBytes: 0, totalBytes: 0, fromCache: false });
    try {
      this.#browser = await BrowserService.start({ baseUrl: baseUrlOf(this.#settings), key, model }, showLoading);
    } finally {
      find('loading', HTMLElement).hidden = true;
    }
    return { answerer: this.#browser, model: (await modelsOf(this.#browser))[0] };
  }
}

/** Fills the choice of models, which shows where there is one; those that run here have a size to be fetched. */
function offerModels(models: readonly ModelInfo[], current: string, place: Place): void {
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

function showLoading({ loadedBytes, totalBytes, fromCache }: Progress): void {
  const bar = find('loading-bar', HTMLProgressElement);
  find('loading', HTMLElement).hidden = false;
  bar.value = totalBytes > 0 ? loadedBytes / totalBytes : 0;
  const verb = fromCache ? 'Reading the kept weights' : 'Fetching the weights';
  const amount = totalBytes > 0 ? `: ${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB` : '';
  find('loading-text', HTMLElement).textContent = verb + amount;
}
