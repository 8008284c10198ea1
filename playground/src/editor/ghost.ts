/**
 * Ghost text: a completion shown at the cursor, but not part of the document. Tab accepts it, Shift-Tab its first line,
 * Ctrl-→ its first word, Escape dismisses it, Alt-] and Alt-[ show another one: the keys of common plug-ins. Any other
 * change removes it, unless it types the beginning of the ghost text. What is accepted is undone in one step.
 */
import { isolateHistory } from '@codemirror/commands';
import { type Extension, Prec, StateEffect, StateField, type Transaction } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView, keymap, WidgetType } from '@codemirror/view';
import { firstLine, firstWord } from './pieces.ts';

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
    return restOf(ghost, typedText(transaction));
  },
  provide: (field) => EditorView.decorations.from(field, decorations),
});

function restOf({ at, text }: Ghost, typed: string | undefined): Ghost | undefined {
  if (typed === undefined || !text.startsWith(typed) || typed.length === text.length) return undefined;
  return { at: at + typed.length, text: text.slice(typed.length) };
}

/** The text that a transaction puts in at the cursor, which then follows it; undefined if it does anything else. */
export function typedText(transaction: Transaction): string | undefined {
  const { startState, changes, newSelection } = transaction;
  const { main } = startState.selection;
  if (!main.empty || transaction.isUserEvent('undo') || transaction.isUserEvent('redo')) return undefined;
  let typed: string | undefined;
  let count = 0;
  changes.iterChanges((from, to, _fromB, _toB, inserted) => {
    count++;
    if (from === main.head && to === from) typed = inserted.toString();
  });
  if (count !== 1 || typed === undefined || newSelection.main.head !== main.head + typed.length) return undefined;
  return typed;
}

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

export type Piece = 'all' | 'line' | 'word';

const PIECES: Readonly<Record<Piece, (text: string) => string>> = {
  all: (text) => text,
  line: firstLine,
  word: firstWord,
};

export interface GhostHandlers {
  /** The user wants another candidate. */
  onCycle: (direction: 1 | -1) => void;
  onDismiss: () => void;
}

export function ghostText({ onDismiss, onCycle }: GhostHandlers): Extension {
  const accepts = (piece: Piece) => (view: EditorView) => accept(view, piece);
  return [
    ghostField,
    Prec.highest([
      keymap.of([
        { key: 'Tab', run: accepts('all') },
        { key: 'Shift-Tab', run: accepts('line') },
        { key: 'Mod-ArrowRight', run: accepts('word') },
        {
          key: 'Escape',
          run: (view) => {
            if (ghostOf(view) === '') return false;
            hideGhost(view);
            onDismiss();
            return true;
          },
        },
        { key: 'Alt-]', run: cycle(1), preventDefault: true },
        { key: 'Alt-[', run: cycle(-1), preventDefault: true },
      ]),
      // A bracket or quote that the ghost text has closes itself there: none is added.
      EditorView.inputHandler.of((view, from, to, text) => {
        const ghost = view.state.field(ghostField);
        if (ghost === undefined || from !== ghost.at || to !== from || !ghost.text.startsWith(text)) return false;
        view.dispatch({
          changes: { from, insert: text },
          selection: { anchor: from + text.length },
          userEvent: 'input.type',
          scrollIntoView: true,
        });
        return true;
      }),
    ]),
  ];

  function cycle(direction: 1 | -1) {
    return () => {
      onCycle(direction);
      return true;
    };
  }
}

/** Writes the ghost text, or its first line or word, into the document. Returns whether there is one. */
export function accept(view: EditorView, piece: Piece): boolean {
  const ghost = view.state.field(ghostField);
  if (ghost === undefined) return false;
  const insert = PIECES[piece](ghost.text);
  view.dispatch({
    changes: { from: ghost.at, insert },
    selection: { anchor: ghost.at + insert.length },
    // Typing before and after it is undone by steps of its own.
    annotations: isolateHistory.of('full'),
    userEvent: 'input.complete',
    scrollIntoView: true,
  });
  return true;
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
