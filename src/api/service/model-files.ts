/**
 * GET /models/:name/:file: the files of the model as the store has them, for whoever runs it elsewhere. Nothing about them is verified
 * here: who loads them verifies them against the manifest, which is one of them.
 */
import type { Context } from 'hono';
import { ApiError } from '../../http/errors.ts';
import { WeightsMissing } from '../../weights/errors.ts';
import { MANIFEST, type Manifest, readManifest } from '../../weights/manifest.ts';
import { unavailable } from '../../weights/model-loader.ts';
import type { WeightSource } from '../../weights/source.ts';

/** Answers a file of the manifest, or the manifest. Throws ApiError 404 for any other, ModelUnavailable for one that is missing. */
export function modelFiles(model: string, source: WeightSource | undefined) {
  return async function modelFiles(c: Context): Promise<Response> {
    const { name, file } = c.req.param() as { name: string; file: string };
    if (name !== model) {
      throw new ApiError(404, `The model '${name}' does not exist; this service has '${model}'.`, {
        param: 'name',
        code: 'model_not_found',
      });
    }
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
  if (c.req.header('if-none-match') === etag) return c.body(null, 304, headers);
  const type = name.endsWith('.json') ? 'application/json' : 'application/octet-stream';
  const described = { ...headers, 'content-type': type };
  const missing = () => unavailable(manifest.name, new WeightsMissing([name]));
  if (c.req.method === 'HEAD') {
    // Nothing is opened for who does not read it: behind some stores that begins a download.
    if ((await source.size(name)) === null) throw missing();
    return c.body(null, 200, { ...described, 'content-length': String(file.size) });
  }
  const body = await source.open(name, file.sha256);
  if (body === null) throw missing();
  return c.body(body, 200, described);
}

function fileNotFound(model: string, file: string): ApiError {
  return new ApiError(404, `The model '${model}' has no file '${file}' here.`, {
    param: 'file',
    code: 'file_not_found',
  });
}
