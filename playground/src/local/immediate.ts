/**
 * `setImmediate` where there is none: the engine gives way with it between two steps. A timer would do, but browsers make nested
 * timers wait 4 ms, as long as a step takes. https://html.spec.whatwg.org/multipage/timers-and-user-prompts.html#timers
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
