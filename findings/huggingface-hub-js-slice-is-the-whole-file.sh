#!/usr/bin/env bash
# @huggingface/hub 2.17.5: a slice of a downloaded file holds the whole file when the server answers the slice's `Range`
# with 200. A server may ignore `Range` in any request. `downloadFile` asks for byte 0 first and looks at the status
# there, but no later request does: code that reads a tensor by `slice` gets bytes from the file's start, without an
# error, and more of them than `slice.size` says.
#
# Versions  @huggingface/hub 2.17.5; Node 20.20.2
# Source    https://www.rfc-editor.org/rfc/rfc9110#section-14.2 (a server may ignore Range), #section-15.3.7 (206);
#           huggingface.js, packages/hub/src/utils/WebBlob.ts: `fetchRange` looks at `ok` alone.
# Seen      bytes=0-0 -> 206, then bytes=1000000-1000003 -> 200
#           slice(1000000, 1000004): size 4, text() of 2000000 characters from "aaaa"; the file has "bbbb" there
# Exits with 1 when the slice is refused or right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @huggingface/hub@2.17.5
cat > slice.js <<'JS'
import { createServer } from 'node:http';
import { downloadFile } from '@huggingface/hub';

const file = Buffer.alloc(2_000_000, 'a').fill('b', 1_000_000);
const hub = createServer((request, response) => {
  const one = request.headers.range === 'bytes=0-0';
  console.log(request.headers.range, '->', one ? 206 : 200);
  const body = one ? file.subarray(0, 1) : file;
  response.writeHead(one ? 206 : 200, {
    etag: '"1"',
    'content-length': body.length,
    ...(one && { 'content-range': `bytes 0-0/${file.length}` }),
  });
  response.end(body);
}).listen(0, '127.0.0.1');
await new Promise((resolve) => hub.once('listening', resolve));
try {
  const blob = await downloadFile({
    repo: 'owner/model',
    path: 'weights.bin',
    hubUrl: `http://127.0.0.1:${hub.address().port}`,
  });
  const slice = blob.slice(1_000_000, 1_000_004);
  const text = await slice.text();
  console.log(`size ${slice.size}, text() of ${text.length} characters from "${text.slice(0, 4)}"`);
  if (slice.size !== 4 || text !== file.toString()) throw new Error('the slice is no longer the whole file');
} finally {
  hub.close();
  hub.closeAllConnections();
}
JS
node slice.js
