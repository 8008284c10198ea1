/** Starts the page. */
import { Playground } from './playground.ts';

void new Playground().start();

// Without it the page works as long as there is a network.
if (import.meta.env.PROD) navigator.serviceWorker?.register('/service-worker.js').catch(() => {});
