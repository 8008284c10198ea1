/** Server-sent events with JSON data, as the completion endpoints stream them; chunks of the body may end anywhere. */

const END = '[DONE]';

/**
 * Yields the data of each event up to `[DONE]`. Throws SyntaxError for invalid JSON, Error if the stream is cut short.
 */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown, void> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error('the stream ended before its last event');
      text += decoder.decode(value, { stream: true });
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const data = dataOf(text.slice(0, end));
        text = text.slice(end + 2);
        if (data === END) return;
        if (data !== '') yield JSON.parse(data);
      }
    }
  } finally {
    // If the caller stops reading, cancel the rest.
    await reader.cancel().catch(() => {});
  }
}

function dataOf(event: string): string {
  return event
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n');
}
