#!/usr/bin/env bash
# A Worker's source stays in the JavaScript heap of each of its isolates, as one string. V8 stores a string in one
# byte a character if all characters are Latin-1, and in two bytes otherwise. wrangler bundles with esbuild, which
# writes ASCII by default, but leaves regular expressions and the comments that it keeps as they are. So one character
# like → there, of a dependency too, costs a byte of the isolate's 128 MB for each character of the bundle. Neither
# size that wrangler prints shows it.
#
# Versions  wrangler 4.156.2, workerd 1.20261102.1; Node 24.21.0; Linux on x86-64
# Source    https://esbuild.github.io/api/#charset (what is not escaped);
#           https://developers.cloudflare.com/workers/platform/limits/#memory (128 MB, the heap and WebAssembly memory)
# Seen      a bundle of 1,048,9xx characters; used heap as the inspector tells it after a garbage collection:
#           with /→/ 1.00 MiB larger than with /-/
# Exits with 1 when the difference is not about one byte a character, or wrangler escapes the character.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund wrangler@4.156.2 workerd@1.20261102.1
cat > heap.js <<'JS'
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import workerd from 'workerd';

const CHARACTERS = 2 ** 20;

/** The bundle of a worker with a regular expression. */
function bundle(name, pattern) {
  mkdirSync(name);
  const padding = 'x'.repeat(CHARACTERS);
  writeFileSync(
    `${name}/worker.js`,
    `export default { fetch: () => new Response('a'.replace(/${pattern}/, '') + '${padding}'.length) };\n`,
  );
  const { status, stderr } = spawnSync(
    'node_modules/.bin/wrangler',
    ['deploy', `${name}/worker.js`, '--dry-run', '--outdir', `${name}/out`, '--name', name, '--compatibility-date', '2026-11-02'],
    { env: { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true', CI: '1' }, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return readFileSync(`${name}/out/worker.js`, 'utf8');
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** MiB that the isolate's heap uses after one request. */
async function heapOf(name) {
  const [port, inspector] = [await freePort(), await freePort()];
  writeFileSync(
    `${name}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "worker", esModule = embed "out/worker.js")],
    compatibilityDate = "2026-11-02"))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]);`,
  );
  const child = spawn(workerd.default ?? workerd, ['serve', `${name}/config.capnp`, `--inspector-addr=127.0.0.1:${inspector}`], {
    stdio: 'ignore',
  });
  try {
    for (let tries = 0; ; tries++) {
      const answer = await fetch(`http://127.0.0.1:${port}`).catch(() => undefined);
      if (answer) break;
      if (tries > 300) throw new Error('workerd does not answer');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const [{ webSocketDebuggerUrl }] = await (await fetch(`http://127.0.0.1:${inspector}/json`)).json();
    const socket = new WebSocket(webSocketDebuggerUrl);
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    const call = (id, method) =>
      new Promise((resolve) => {
        socket.addEventListener('message', ({ data }) => {
          const message = JSON.parse(data);
          if (message.id === id) resolve(message.result);
        });
        socket.send(JSON.stringify({ id, method }));
      });
    // Collects garbage first.
    await call(1, 'HeapProfiler.takeHeapSnapshot');
    const { usedSize } = await call(2, 'Runtime.getHeapUsage');
    socket.close();
    return usedSize / 2 ** 20;
  } finally {
    child.kill('SIGKILL');
  }
}

const [narrow, wide] = [bundle('narrow', '-'), bundle('wide', '→')];
const isEscaped = !wide.includes('→');
const difference = (await heapOf('wide')) - (await heapOf('narrow'));
console.log(`source of ${wide.length} characters, used heap with /→/ ${difference.toFixed(2)} MiB larger; escaped: ${isEscaped}`);
const expected = narrow.length / 2 ** 20;
if (isEscaped || Math.abs(difference - expected) > 0.15) process.exit(1);
JS
timeout 120 node heap.js
