/** The page: completions in the editor, the race of two decoders, and their display. */
import { Banner } from './banner.ts';
import { Player } from './canvas/player.ts';
import type { Recording } from './canvas/recording.ts';
import { DecodingControls } from './decoding/controls.ts';
import { debounced, element, find } from './dom.ts';
import { Completer } from './editor/completer.ts';
import { createEditor, cursorOf, type Editor } from './editor/editor.ts';
import { ghostOf, hideGhost, showGhost } from './editor/ghost.ts';
import { LANGUAGES, type Language, languageName } from './editor/languages.ts';
import { showMetrics } from './metrics.ts';
import { Places, type Ready } from './place.ts';
import { ghostRequest, raceRequests, record } from './runs.ts';
import type { Result } from './service/completions.ts';
import { Problem, type Remedy, unreachable } from './service/problem.ts';
import { baseUrlOf, loadSettings, type Place, saveSettings } from './settings.ts';
import { settingsDialog } from './settings-dialog.ts';
import { snippetOf } from './snippets/snippets.ts';
import { SnippetsView } from './snippets/view.ts';

/** After this time without an answer, the page says that it waits for the network or a cold start. */
const SLOW_MS = 3000;
const SETTLE_MS = 250;

export class Playground {
  readonly #settings = loadSettings();
  readonly #places = new Places(this.#settings);
  readonly #dialog = settingsDialog(this.#settings, () => this.#settingsChanged());
  readonly #banner = new Banner(find('problems', HTMLElement), (remedy) => this.#remedy(remedy));
  readonly #status = find('status', HTMLElement);
  readonly #player = new Player(find('lanes', HTMLElement), find('scrub', HTMLElement));
  readonly #controls: DecodingControls;
  readonly #snippets: SnippetsView;
  readonly #editor: Editor;
  readonly #completer: Completer;
  #racing: AbortController | undefined;
  /** The canvas shows a race, or one is running: changed settings run it again. */
  #raced = false;
  #model = this.#settings.model;
  #touched = false;
  #answered = false;

  constructor() {
    this.#completer = new Completer({
      ask: (variant, signal) => this.#complete(variant, signal),
      show: (text, position) => this.#show(text, position),
      onNothing: (result) => this.#nothing(result),
      onProblem: (error) => this.#problem(error),
      onBusy: (busy) => find('editor-panel', HTMLElement).setAttribute('aria-busy', String(busy)),
    });
    this.#editor = createEditor(find('editor', HTMLElement), {
      language: LANGUAGES[0],
      onAccept: () => this.#tell('Accepted.'),
      onDismiss: () => this.#dismissed(),
      onCycle: (direction) => void this.#completer.cycle(direction),
      onChange: (typed) => this.#moved(typed),
      onRun: () => void this.#race(),
    });
    this.#controls = new DecodingControls(
      find('decoding', HTMLElement),
      debounced(() => this.#again(), SETTLE_MS),
    );
    this.#snippets = new SnippetsView(
      find('api', HTMLElement),
      (kind) => snippetOf(kind, { ...this.#address(), request: this.#request() }),
      (text) => this.#tell(text),
    );
    this.#wire();
  }

  /** Shows the demo: a completion, then a race, with the sample text. */
  async start(): Promise<void> {
    await this.#completer.cycle(1);
    // Not if the user has typed in the meantime, or the completion failed.
    if (!this.#touched && this.#answered) await this.#race();
  }

  #wire(): void {
    const { view } = this.#editor;
    const language = find('language', HTMLSelectElement);
    language.append(...LANGUAGES.map((name) => element('option', { value: name }, languageName(name))));
    language.addEventListener('change', () => this.#editor.setLanguage(language.value as Language));
    const model = find('model', HTMLSelectElement);
    model.addEventListener('change', () => {
      this.#settings.picked = model.value;
      this.#move(this.#places.current);
    });
    find('open-settings', HTMLButtonElement).addEventListener('click', () => this.#dialog.open());
    find('race', HTMLButtonElement).addEventListener('click', () => void this.#race());
    const press = (id: string, key: string) =>
      find(id, HTMLButtonElement).addEventListener('click', () => {
        view.focus();
        view.contentDOM.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
      });
    press('accept', 'Tab');
    press('dismiss', 'Escape');
    find('next', HTMLButtonElement).addEventListener('click', () => void this.#completer.cycle(1));
    for (const place of document.querySelectorAll<HTMLInputElement>('input[name="place"]')) {
      place.checked = place.value === this.#places.current;
      place.addEventListener('change', () => this.#move(place.value as Place));
    }
  }

  /** The current answerer; the page shows which one it is. */
  async #ready(): Promise<Ready> {
    const ready = await this.#places.ready();
    this.#model = ready.model.id;
    this.#controls.setModel(ready.model);
    find('model-chip', HTMLElement).textContent =
      this.#places.current === 'browser' ? `${this.#model} · here` : this.#model;
    return ready;
  }

  async #complete(variant: number, signal: AbortSignal): Promise<Result | undefined> {
    const cursor = cursorOf(this.#editor.view);
    if (cursor === undefined || cursor.prefix + cursor.suffix === '') return undefined;
    const recording = await this.#patiently(async () => {
      const ready = await this.#ready();
      return record(ready, ghostRequest(ready.model.id, cursor, this.#controls.choices, variant), signal);
    });
    if (signal.aborted) return undefined;
    this.#banner.clear();
    showMetrics(find('metrics', HTMLElement), recording.result, this.#places.current === 'service');
    this.#raced = false;
    this.#answered = true;
    this.#present(recording);
    this.#snippets.update();
    return recording.result;
  }

  async #race(): Promise<void> {
    const cursor = cursorOf(this.#editor.view);
    if (cursor === undefined) return;
    // A pending completion would replace the race.
    this.#completer.cancel();
    this.#racing?.abort(new DOMException('raced again', 'AbortError'));
    const controller = new AbortController();
    this.#racing = controller;
    // Set now, so that settings that change during the race start another race and not a completion.
    this.#raced = true;
    try {
      await this.#patiently(async () => {
        const ready = await this.#ready();
        const requests = raceRequests(ready.model.id, cursor, this.#controls.choices);
        const diffusion = await record(ready, requests[0], controller.signal);
        const autoregressive = await record(ready, requests[1], controller.signal);
        if (controller.signal.aborted) return;
        this.#banner.clear();
        this.#present(diffusion, autoregressive);
      });
    } catch (error) {
      if (!controller.signal.aborted) this.#problem(error);
    }
  }

  #present(diffusion: Recording, autoregressive?: Recording): void {
    this.#player.set(diffusion, autoregressive);
    this.#player.play();
  }

  /** Shows a notice if the work takes long. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const timer = window.setTimeout(
      () => this.#tell('Still waiting: the network is slow, or the service is starting.'),
      SLOW_MS,
    );
    try {
      return await work();
    } finally {
      window.clearTimeout(timer);
    }
  }

  #show(text: string, { index, count }: { index: number; count: number }): void {
    showGhost(this.#editor.view, text);
    this.#tell(`${count > 1 ? `Candidate ${index + 1} of ${count}` : 'Completion'}: ${text}`);
    this.#enableKeys(true);
  }

  #nothing({ confidence = 0 }: Result): void {
    hideGhost(this.#editor.view);
    this.#enableKeys(false);
    this.#tell(`Nothing to show here: the model is not sure enough (${Math.round(confidence * 100)} %).`);
  }

  #dismissed(): void {
    this.#completer.cancel();
    this.#enableKeys(false);
    this.#tell('Dismissed.');
  }

  #moved(typed: boolean): void {
    this.#racing?.abort(new DOMException('typed on', 'AbortError'));
    this.#enableKeys(ghostOf(this.#editor.view) !== '');
    this.#touched = true;
    if (typed) this.#raced = false;
    if (typed) this.#completer.changed();
    else this.#completer.cancel();
  }

  /** The decoding settings have changed. */
  #again(): void {
    this.#snippets.update();
    if (this.#raced) void this.#race();
    else this.#completer.changed();
  }

  #problem(error: unknown): void {
    const problem =
      error instanceof Problem
        ? error
        : error instanceof TypeError
          ? unreachable(baseUrlOf(this.#settings))
          : new Problem('Something went wrong', error instanceof Error ? error.message : String(error));
    this.#tell('');
    this.#banner.show(problem);
  }

  #remedy(remedy: Remedy): void {
    if (remedy === 'settings') this.#dialog.open();
    else if (remedy === 'browser') this.#move('browser');
    else {
      this.#banner.clear();
      this.#completer.changed();
    }
  }

  #move(place: Place): void {
    for (const input of document.querySelectorAll<HTMLInputElement>('input[name="place"]')) {
      input.checked = input.value === place;
    }
    this.#banner.clear();
    this.#racing?.abort(new DOMException('moved', 'AbortError'));
    this.#places.move(place);
    this.#completer.changed();
  }

  #settingsChanged(): void {
    saveSettings(this.#settings);
    this.#move(this.#places.current);
    this.#snippets.update();
  }

  #address() {
    return { baseUrl: baseUrlOf(this.#settings), hasKey: this.#settings.key !== '' };
  }

  /** The current request of the page. */
  #request() {
    const cursor = cursorOf(this.#editor.view) ?? { prefix: '', suffix: '' };
    return ghostRequest(this.#model, cursor, this.#controls.choices, 0);
  }

  #enableKeys(enabled: boolean): void {
    for (const id of ['accept', 'next', 'dismiss']) find(id, HTMLButtonElement).disabled = !enabled;
  }

  #tell(text: string): void {
    this.#status.textContent = text;
  }
}
