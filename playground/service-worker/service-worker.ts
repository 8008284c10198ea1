/**
 * Caches the page for use without a network. It does not cache responses of the API or weights: the page caches
 * weights.
 */

const worker = self as unknown as ServiceWorkerGlobalScope;

/** Put in when the page is built (precache.ts). */
declare const __PRECACHE__: { version: string; files: string[] };

const { version, files } = __PRECACHE__;
const PREFIX = 'quicksilver-page-';
const CACHE = PREFIX + version;
const PAGE = '/';

worker.addEventListener('install', (event) => {
  event.waitUntil(install());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(activate());
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== worker.location.origin) return;
  if (request.mode === 'navigate' && pathname === PAGE) event.respondWith(page(request));
  else if (files.includes(pathname)) event.respondWith(file(request));
});

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  const others = files.filter((name) => name !== '/index.html');
  // / is the page for clients that ask for HTML, and a description of the service for others.
  const wanted = [new Request(PAGE, { headers: { accept: 'text/html' } }), ...others.map((name) => new Request(name))];
  await cache.addAll(wanted);
  await worker.skipWaiting();
}

async function activate(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await worker.clients.claim();
}

/** The newest page if there is a network, else the cached one. */
async function page(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match(PAGE, { cacheName: CACHE, ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

/** Names contain the hash of the content, so a cached file is never outdated. */
async function file(request: Request): Promise<Response> {
  return (await caches.match(request, { cacheName: CACHE, ignoreVary: true })) ?? fetch(request);
}
