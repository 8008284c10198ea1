/**
 * Verifies the models of a folder against their manifests, as the worker does: `node scripts/check-manifests.ts
 * models`.
 */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileOf, readManifest } from '../src/weights/manifest.ts';
import type { WeightSource } from '../src/weights/source.ts';
import { openVerified } from '../src/weights/verify.ts';

const [modelsFolder] = process.argv.slice(2);
if (modelsFolder === undefined) throw new Error('usage: check-manifests.ts <folder of models>');

const models = (await readdir(modelsFolder, { withFileTypes: true })).filter((entry) => entry.isDirectory());
if (models.length === 0) throw new Error(`no model in ${modelsFolder}`);

for (const entry of models) {
  const source = folderSource(join(modelsFolder, entry.name));
  const manifest = await readManifest(source, entry.name);
  for (const { path } of manifest.files) {
    const { stream } = await openVerified(source, fileOf(manifest, path));
    await stream.pipeTo(new WritableStream());
    console.log(`${entry.name}/${path} is what its manifest says`);
  }
}

function folderSource(folder: string): WeightSource {
  const size = async (file: string) => {
    const stats = await stat(join(folder, file)).catch(() => null);
    return stats?.size ?? null;
  };
  return {
    size,
    open: async (file) => {
      if ((await size(file)) === null) return null;
      return Readable.toWeb(createReadStream(join(folder, file))) as ReadableStream<Uint8Array>;
    },
  };
}
