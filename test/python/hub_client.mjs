/** What @huggingface/hub finds in a mirror, as JSON: `node hub_client.mjs URL TOKEN REPO FOLDER`. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import * as hub from '@huggingface/hub';

const [hubUrl, accessToken, repo, cacheDir] = process.argv.slice(2);
const options = { hubUrl, accessToken, repo };
const sha256 = async (data) => createHash('sha256').update(new Uint8Array(await data)).digest('hex');
const listed = [];
for await (const { path } of hub.listFiles({ ...options, recursive: true, expand: true })) listed.push(path);
const infos = await hub.pathsInfo({ ...options, paths: ['config.json', 'model.safetensors', 'none'], expand: true });
const large = await hub.downloadFile({ ...options, path: 'model.safetensors' });
const pointer = await hub.downloadFile({ ...options, path: 'model.safetensors', raw: true });
const empty = await hub.downloadFile({ ...options, path: 'empty.txt' });
console.log = () => {};
console.debug = () => {};
const cached = await hub.downloadFileToCacheDir({ ...options, path: 'model.safetensors', cacheDir });
const snapshot = await hub.snapshotDownload({ ...options, cacheDir });
process.stdout.write(
  JSON.stringify({
    listed,
    sizes: Object.fromEntries(infos.map(({ path, size }) => [path, size])),
    exists: await hub.fileExists({ ...options, path: 'config.json' }),
    none: await hub.fileExists({ ...options, path: 'none.json' }),
    sha256: await sha256(large.arrayBuffer()),
    slice: await large.slice(5, 15).text().then((text) => text.length > 0),
    pointer: await pointer.text(),
    empty: empty.size,
    cached: await sha256(readFile(cached)),
    snapshot: await sha256(readFile(`${snapshot}/model.safetensors`)),
  }),
);
