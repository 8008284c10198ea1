/**
 * GET /models/:name/:file: the files of a model as the store has them, for clients that run it elsewhere. Nothing is
 * verified here: clients verify the files against the manifest, which is one of them.
 */
import type { Context } from 'hono';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { ApiError } from '../../http/errors.ts';
import { isKnown, ofLength } from '../../http/files.ts';
import { watchedBody } from '../../middleware/body-end.ts';
import { WeightsMissing } from '../../weights/errors.ts';
import { MANIFEST, type Manifest, readManifest } from '../../weights/manifest.ts';
import { unavailable } from '../../weights/model-loader.ts';
import type { WeightSource } from '../../weights/source.ts';
import { modelFor } from '../completion/served.ts';

/**
 * Answers a file of the manifest, or the manifest. Throws ApiError 404 for any other, ModelUnavailable for one that is
 * missing.
 */
export function modelFiles(models: ModelCatalog, sources: ReadonlyMap<string, WeightSource> | undefined) {
  return async function modelFiles(c: Context): Promise<Response> {
    const { name, file } = c.req.param() as { name: string; file: string };
    const { id: model } = modelFor(models, name, 'name');
    const source = sources?.get(model);
    if (source === undefined) throw fileNotFound(model, file);
    const manifest = await readManifest(source, model).catch((error) => {
      throw unavailable(model, error);
    });
    if (file === MANIFEST) return c.json(manifest, 200, { 'cache-control': 'no-cache' });
    return answer(c, manifest, file, source);
  };
}

async function answer(c: Context, manifest: Manifest, name: string, source: WeightSource): Promise<Response> {
  const file = manifest.files.find(({ path }) => path === name);
  if (file === undefined) throw fileNotFound(manifest.name, name);
  const etag = `"${file.sha256}"`;
  const headers = { etag, 'cache-control': 'no-cache' };
  if (isKnown(c.req.header('if-none-match'), etag)) return c.body(null, 304, headers);
  const type = name.endsWith('.json') ? 'application/json' : 'application/octet-stream';
  const failed = (error: unknown) => {
    throw unavailable(manifest.name, error);
  };
  const size = await source.size(name).catch(failed);
  if (size === null) throw unavailable(manifest.name, new WeightsMissing([name]));
  const length = size ?? file.size;
  const all = { ...headers, 'content-type': type, 'content-length': String(length) };
  // Nothing is opened for a question about it.
  if (c.req.raw.method === 'HEAD') return c.body(null, 200, all);
  const body = await source.open(name, file.sha256).catch(failed);
  if (body === null) throw unavailable(manifest.name, new WeightsMissing([name]));
  return c.body(ofLength(watchedBody(c, body), length), 200, all);
}

function fileNotFound(model: string, file: string): ApiError {
  return new ApiError(404, `The model '${model}' has no file '${file}' here.`, {
    param: 'file',
    code: 'file_not_found',
  });
}
