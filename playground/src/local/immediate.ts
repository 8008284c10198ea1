/**
 * `setImmediate` for browsers, which the engine uses to yield to the event loop between two steps. Browsers delay
 * nested timers by 4 ms, as long as a step takes.
 * https://html.spec.whatwg.org/multipage/timers-and-user-prompts.html#timers
 */

const waiting: (() => void)[] = [];
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => waiting.shift()?.();

Object.assign(globalThis, {
  setImmediate(call: () => void): void {
    waiting.push(call);
    port2.postMessage(null);
  },
});

export {};
