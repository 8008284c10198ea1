/** Where the denoiser runs: in the service at the configured address, or in a Web Worker that starts at first use. */
import { find } from './dom.ts';
import { BrowserService } from './local/browser-service.ts';
import type { Progress } from './local/model-source.ts';
import { type Answerer, serviceAt } from './service/answerer.ts';
import { type ModelInfo, modelOf } from './service/completions.ts';
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
    const answerer = serviceAt({ baseUrl: baseUrlOf(this.#settings), key: this.#settings.key });
    const model = await modelOf(answerer);
    this.#settings.model = model.id;
    saveSettings(this.#settings);
    return { answerer, model };
  }

  async #inBrowser(): Promise<Ready> {
    this.#browser?.stop();
    this.#browser = undefined;
    const { key, model: name } = this.#settings;
    showLoading({ loadedBytes: 0, totalBytes: 0, fromCache: false });
    try {
      this.#browser = await BrowserService.start({ baseUrl: baseUrlOf(this.#settings), key, model: name }, showLoading);
    } finally {
      find('loading', HTMLElement).hidden = true;
    }
    return { answerer: this.#browser, model: await modelOf(this.#browser) };
  }
}

function showLoading({ loadedBytes, totalBytes, fromCache }: Progress): void {
  const bar = find('loading-bar', HTMLProgressElement);
  find('loading', HTMLElement).hidden = false;
  bar.value = totalBytes > 0 ? loadedBytes / totalBytes : 0;
  const verb = fromCache ? 'Reading the kept weights' : 'Fetching the weights';
  const amount =
    totalBytes > 0 ? `: ${(loadedBytes / MEGABYTE).toFixed(1)} of ${(totalBytes / MEGABYTE).toFixed(1)} MB` : '';
  find('loading-text', HTMLElement).textContent = verb + amount;
}
