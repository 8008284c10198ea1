/**
 * Ghost text: a completion shown at the cursor, but not part of the document. Tab accepts it, Escape dismisses it,
 * Alt-] and Alt-[ show another one. Any other key removes it, unless it types the first character of the ghost text.
 */
import { type Extension, Prec, StateEffect, StateField } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView, keymap, WidgetType } from '@codemirror/view';

interface Ghost {
  /** Position in the document. */
  at: number;
  text: string;
}

const show = StateEffect.define<Ghost | undefined>();

const ghostField = StateField.define<Ghost | undefined>({
  create: () => undefined,
  update(ghost, transaction) {
    for (const effect of transaction.effects) if (effect.is(show)) return effect.value;
    if (ghost === undefined) return undefined;
    if (!transaction.docChanged) return transaction.selection ? undefined : ghost;
    let typed: string | undefined;
    transaction.changes.iterChanges((from, to, _fromB, _toB, inserted) => {
      typed = from === ghost.at && to === from && typed === undefined ? inserted.toString() : '';
    });
    if (!typed || !ghost.text.startsWith(typed) || typed.length === ghost.text.length) return undefined;
    return { at: ghost.at + typed.length, text: ghost.text.slice(typed.length) };
  },
  provide: (field) => EditorView.decorations.from(field, decorations),
});

class GhostWidget extends WidgetType {
  readonly text: string;

  constructor(text: string) {
    super();
    this.text = text;
  }

  override eq(other: GhostWidget): boolean {
    return other.text === this.text;
  }

  override toDOM(): HTMLElement {
    const span = document.createElement('span');
    span.className = 'cm-ghost';
    // It is announced elsewhere; here a screen reader would read it as part of the document.
    span.setAttribute('aria-hidden', 'true');
    span.textContent = this.text;
    return span;
  }
}

function decorations(ghost: Ghost | undefined): DecorationSet {
  if (ghost === undefined) return Decoration.none;
  return Decoration.set(Decoration.widget({ widget: new GhostWidget(ghost.text), side: 1 }).range(ghost.at));
}

export interface GhostHandlers {
  /** The text was inserted into the document. */
  onAccept: () => void;
  onDismiss: () => void;
  /** The user wants another candidate. */
  onCycle: (direction: 1 | -1) => void;
}

export function ghostText({ onAccept, onDismiss, onCycle }: GhostHandlers): Extension {
  const withGhost = (act: (view: EditorView, ghost: Ghost) => void) => (view: EditorView) => {
    const ghost = view.state.field(ghostField);
    if (ghost === undefined) return false;
    act(view, ghost);
    return true;
  };
  return [
    ghostField,
    Prec.highest(
      keymap.of([
        {
          key: 'Tab',
          run: withGhost((view, { at, text }) => {
            view.dispatch({
              changes: { from: at, insert: text },
              selection: { anchor: at + text.length },
              effects: show.of(undefined),
              userEvent: 'input.complete',
            });
            onAccept();
          }),
        },
        {
          key: 'Escape',
          run: withGhost((view) => {
            hideGhost(view);
            onDismiss();
          }),
        },
        { key: 'Alt-]', run: cycle(1), preventDefault: true },
        { key: 'Alt-[', run: cycle(-1), preventDefault: true },
      ]),
    ),
  ];

  function cycle(direction: 1 | -1) {
    return () => {
      onCycle(direction);
      return true;
    };
  }
}

/** Shows the text at the cursor; an empty text removes the ghost text. */
export function showGhost(view: EditorView, text: string): void {
  const { main } = view.state.selection;
  view.dispatch({ effects: show.of(text === '' ? undefined : { at: main.head, text }) });
}

export function hideGhost(view: EditorView): void {
  if (view.state.field(ghostField) !== undefined) view.dispatch({ effects: show.of(undefined) });
}

/** The current ghost text. */
export function ghostOf(view: EditorView): string {
  return view.state.field(ghostField)?.text ?? '';
}
