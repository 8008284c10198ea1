/** The editor: CodeMirror in a shadow root, where it adds style sheets as objects, which the page's policy allows. */
import { closeBrackets, closeBracketsKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, indentOnInput } from '@codemirror/language';
import { Compartment, EditorState } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { type GhostHandlers, ghostText, typedText } from './ghost.ts';
import { type Language, languageExtension, sampleOf } from './languages.ts';
import { theme } from './theme.ts';

/** Text sent before the cursor: far more than the model's context, and far less than the limit of the service. */
const MAX_PREFIX_CHARS = 12_000;
const MAX_SUFFIX_CHARS = 6_000;

interface EditorOptions extends GhostHandlers {
  language: Language;
  /** Text was put in at the cursor: typed, or accepted. */
  onTyped: (text: string, accepted: boolean) => void;
  /** The text has changed in another way. */
  onChanged: () => void;
  /** Only the cursor has moved. */
  onMoved: () => void;
  onRun: () => void;
}

export interface Editor {
  readonly view: EditorView;
  readonly language: Language;
  /** Replaces the text with the sample of another language. */
  setLanguage(language: Language): void;
}

export function createEditor(parent: HTMLElement, options: EditorOptions): Editor {
  const extension = new Compartment();
  let current = options.language;
  const root = parent.attachShadow({ mode: 'open' });
  const { text, cursor } = sampleOf(options.language);
  const race = () => {
    options.onRun();
    return true;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      selection: { anchor: cursor },
      extensions: [
        ghostText(options),
        lineNumbers(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        highlightActiveLine(),
        EditorView.lineWrapping,
        // Tab leaves the editor when there is nothing to accept, so that it is not a trap for keyboard users.
        keymap.of([{ key: 'Mod-Enter', run: race }, ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap]),
        EditorView.contentAttributes.of({
          tabindex: '0',
          'aria-label':
            'Code. Tab accepts a completion, Shift and Tab its first line, Control and right arrow its first word; ' +
            'Alt and ] shows another one, Escape dismisses it.',
          spellcheck: 'false',
          autocorrect: 'off',
          autocapitalize: 'off',
        }),
        EditorView.updateListener.of(({ docChanged, selectionSet, transactions }) => {
          if (!docChanged) {
            if (selectionSet) options.onMoved();
            return;
          }
          const [transaction] = transactions;
          const text = transactions.length === 1 && transaction ? typedText(transaction) : undefined;
          if (text === undefined) options.onChanged();
          else options.onTyped(text, transaction!.isUserEvent('input.complete'));
        }),
        extension.of(languageExtension(options.language)),
        theme,
      ],
    }),
  });

  return {
    view,
    get language() {
      return current;
    },
    setLanguage(next) {
      current = next;
      const sample = sampleOf(next);
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: sample.text },
        selection: { anchor: sample.cursor },
        effects: extension.reconfigure(languageExtension(next)),
        scrollIntoView: true,
      });
    },
  };
}

/** The text around the cursor; undefined while something is selected or being composed. */
export function cursorOf(view: EditorView): { prefix: string; suffix: string } | undefined {
  const { doc, selection } = view.state;
  if (!selection.main.empty || view.composing) return undefined;
  const { head } = selection.main;
  return {
    prefix: doc.sliceString(Math.max(0, head - MAX_PREFIX_CHARS), head),
    suffix: doc.sliceString(head, head + MAX_SUFFIX_CHARS),
  };
}
