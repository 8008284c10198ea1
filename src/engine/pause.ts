/** Yields to the event loop, so that a disconnect is noticed and other requests get their turn. */

/** Resolves in a later task. A microtask is not enough: it runs before any I/O is handled. */
export function pause(milliseconds = 0): Promise<void> {
  return new Promise((resolve) => {
    // Node rounds a timeout of 0 up to 1 ms, which is as long as a step of a small model.
    if (milliseconds === 0 && typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, milliseconds);
  });
}
