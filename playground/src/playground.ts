/** The page: the stage with one canvas, completions in the editor, and their display. */
import { Banner } from './banner.ts';
import { OPENING, type Staged } from './canvas/opening.ts';
import { Stage } from './canvas/stage.ts';
import { DecodingControls } from './decoding/controls.ts';
import { debounced, element, find } from './dom.ts';
import { Completer } from './editor/completer.ts';
import { createEditor, cursorOf, type Editor } from './editor/editor.ts';
import { accept, ghostOf, hideGhost, showGhost } from './editor/ghost.ts';
import { LANGUAGES, type Language, languageName } from './editor/languages.ts';
import { Figures } from './figures.ts';
import { nothingToShow } from './nothing.ts';
import { Places } from './place.ts';
import { ghostRequest, raceChoices, raceRequests, raceRules, record } from './runs.ts';
import { complete, type Result } from './service/completions.ts';
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
  readonly #stage = new Stage(() => void this.#race());
  readonly #figures = new Figures(find('figures', HTMLElement));
  readonly #controls: DecodingControls;
  readonly #snippets: SnippetsView;
  readonly #editor: Editor;
  readonly #completer: Completer;
  #racing: AbortController | undefined;
  /** What the stage shows, and decodes again with other settings. */
  #staged: Staged = OPENING;
  #model = this.#settings.model;
  #touched = false;

  constructor() {
    this.#completer = new Completer({
      ask: (variant, signal) => this.#complete(variant, signal),
      onAnswer: (result) => this.#answered(result),
      show: (text, position) => this.#show(text, position),
      onNothing: (result) => this.#nothing(result),
      onProblem: (error) => this.#problem(error),
      onBusy: (busy) => find('editor-panel', HTMLElement).setAttribute('aria-busy', String(busy)),
    });
    this.#editor = createEditor(find('editor', HTMLElement), {
      language: LANGUAGES[0],
      onTyped: (text, accepted) => this.#typed(text, accepted),
      onChanged: () => this.#changed(),
      onMoved: () => this.#moved(),
      onDismiss: () => this.#dismissed(),
      onCycle: (direction) => void this.#completer.cycle(direction),
      onRun: () => void this.#raceAtCursor(),
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
    this.#stage.prepare(this.#staged);
  }

  /** Shows the demo: both decoders on the stage, then a completion in the editor. */
  async start(): Promise<void> {
    await this.#race();
    // Not if the user has typed in the meantime.
    if (!this.#touched) await this.#completer.cycle(1);
  }

  #wire(): void {
    const { view } = this.#editor;
    const press = (id: string, act: () => void) => find(id, HTMLButtonElement).addEventListener('click', act);
    const language = find('language', HTMLSelectElement);
    language.append(...LANGUAGES.map((name) => element('option', { value: name }, languageName(name))));
    language.addEventListener('change', () => this.#editor.setLanguage(language.value as Language));
    const model = find('model', HTMLSelectElement);
    model.addEventListener('change', () => {
      this.#settings.picked = model.value;
      this.#move(this.#places.current);
    });
    press('open-settings', () => this.#dialog.open());
    press('race', () => void this.#raceAtCursor());
    for (const [id, piece] of [
      ['accept', 'all'],
      ['accept-line', 'line'],
      ['accept-word', 'word'],
    ] as const) {
      press(id, () => {
        view.focus();
        accept(view, piece);
      });
    }
    press('dismiss', () => {
      hideGhost(view);
      this.#dismissed();
    });
    press('next', () => void this.#completer.cycle(1));
    for (const place of document.querySelectorAll<HTMLInputElement>('input[name="place"]')) {
      place.checked = place.value === this.#places.current;
      place.addEventListener('change', () => this.#move(place.value as Place));
    }
  }

  async #complete(variant: number, signal: AbortSignal): Promise<Result | undefined> {
    const cursor = cursorOf(this.#editor.view);
    if (cursor === undefined || isEmpty(cursor)) return undefined;
    return this.#patiently(async () => {
      const { answerer, model } = await this.#places.ready();
      this.#model = model.id;
      this.#controls.setModel(model);
      find('model-chip', HTMLElement).textContent =
        this.#places.current === 'browser' ? `${model.id} · here` : model.id;
      return complete(answerer, ghostRequest(model.id, cursor, this.#controls.choices, variant), signal);
    });
  }

  #answered(result: Result): void {
    this.#banner.clear();
    const isRemote = this.#places.current === 'service';
    this.#figures.show(result, { isRemote, pauseMs: this.#completer.pauseMs });
    this.#snippets.update();
  }

  async #raceAtCursor(): Promise<void> {
    const { view, language } = this.#editor;
    const cursor = cursorOf(view);
    if (cursor === undefined || isEmpty(cursor)) return;
    this.#staged = { ...cursor, language };
    await this.#race();
  }

  /** Both decoders, one after the other, in the code on the stage. */
  async #race(): Promise<void> {
    const staged = this.#staged;
    this.#racing?.abort(new DOMException('run again', 'AbortError'));
    const controller = new AbortController();
    const { signal } = controller;
    this.#racing = controller;
    const lanes = find('lanes', HTMLElement);
    lanes.ariaBusy = 'true';
    try {
      await this.#patiently(async () => {
        const ready = await this.#places.ready((models) => this.#stage.choose(models, staged));
        if (signal.aborted) return;
        const choices = raceChoices(ready.model, staged.settings, this.#controls.choices, this.#stage.width);
        const requests = raceRequests(ready.model.id, staged, choices);
        const diffusion = await record(ready, requests[0], signal);
        const autoregressive = await record(ready, requests[1], signal);
        this.#banner.clear();
        this.#stage.show(staged, [diffusion, autoregressive], raceRules(staged, ready.model.id, choices));
      });
    } catch (error) {
      if (!signal.aborted) this.#problem(error);
    } finally {
      if (this.#racing === controller) lanes.ariaBusy = 'false';
    }
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

  #nothing(result: Result): void {
    hideGhost(this.#editor.view);
    this.#enableKeys(false);
    this.#tell(nothingToShow(result));
  }

  #dismissed(): void {
    this.#completer.cancel();
    this.#enableKeys(false);
    this.#tell('Dismissed.');
  }

  #typed(text: string, accepted: boolean): void {
    this.#touched = true;
    this.#completer.typed(text);
    this.#enableKeys(ghostOf(this.#editor.view) !== '');
    if (accepted) this.#tell('Accepted.');
  }

  #changed(): void {
    this.#touched = true;
    this.#enableKeys(false);
    if (this.#editor.view.state.doc.length > 0) {
      this.#completer.changed();
      return;
    }
    this.#completer.cancel();
    this.#figures.clear();
    this.#snippets.update();
    this.#tell('Nothing is written here.');
  }

  #moved(): void {
    this.#touched = true;
    this.#enableKeys(false);
    this.#completer.cancel();
  }

  /** The decoding settings have changed. */
  #again(): void {
    this.#snippets.update();
    this.#completer.changed();
    void this.#race();
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

  /** The current request of the editor. */
  #request() {
    const cursor = cursorOf(this.#editor.view) ?? { prefix: '', suffix: '' };
    return ghostRequest(this.#model, cursor, this.#controls.choices, 0);
  }

  #enableKeys(enabled: boolean): void {
    for (const id of ['accept', 'accept-line', 'accept-word', 'next', 'dismiss']) {
      find(id, HTMLButtonElement).disabled = !enabled;
    }
  }

  #tell(text: string): void {
    this.#status.textContent = text;
  }
}

const isEmpty = ({ prefix, suffix }: { prefix: string; suffix: string }) => prefix + suffix === '';
