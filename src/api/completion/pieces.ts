/** A stream of choices as pieces of text that a client can put together. */
import type { CanvasView } from '../../engine/types.ts';
import type { ChoiceEvent, CompletionCall, FinishedChoice } from './completion.ts';

/** What a choice gained since its last piece or, with `diffusing`, its whole text; `finished` with its last one. */
export interface Piece {
  index: number;
  text: string;
  /** What there is to see of the step that the piece is about, when asked for. */
  canvas?: CanvasView;
  finished?: FinishedChoice;
}

export async function* piecesOf(
  events: AsyncIterable<ChoiceEvent>,
  { echo, diffusing, editor }: CompletionCall,
): AsyncGenerator<Piece, void> {
  let sent = '';
  for await (const event of events) {
    const { index } = event;
    const lead = echo ? event.prompt.text : '';
    if (event.type === 'end') {
      const text = lead + event.completion.text;
      yield { index, text: diffusing ? text : gained(sent, text), finished: event };
      sent = '';
    } else if (diffusing) {
      const { text, canvas } = event.frame;
      yield { index, text: lead + text, ...(canvas && { canvas }) };
    } else if (!editor) {
      const text = gained(sent, lead + event.frame.settled);
      if (text === '') continue;
      yield { index, text };
      sent += text;
    }
  }
}

function gained(sent: string, settled: string): string {
  if (!settled.startsWith(sent)) throw new Error('text that was settled has changed');
  return settled.slice(sent.length);
}
