/** Starts the page. */
import { Playground } from './playground.ts';

void new Playground().start();

// Without the service worker, the page works only with a network.
if (import.meta.env.PROD) navigator.serviceWorker?.register('/service-worker.js').catch(() => {});
