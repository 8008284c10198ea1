/**
 * Weights in a folder of models, through the disk service of workerd: GET is the content, HEAD the size of a file. Read
 * only.
 */
import { StoreFailed } from './errors.ts';
import { rangeHeader, sliced, toldSize } from './range.ts';
import type { ByteRange, StoredInfo, WeightStore } from './store.ts';

/** What is used of a binding to a service of workerd. */
export interface FolderService {
  fetch(url: string, init?: { method: 'GET' | 'HEAD'; headers?: Record<string, string> }): Promise<Response>;
}

/** The service only reads the path. */
const ORIGIN = 'http://disk';

/** The models of a folder. */
export function diskStore(folder: FolderService): WeightStore {
  async function ask(method: 'GET' | 'HEAD', name: string, range?: ByteRange): Promise<Response | null> {
    const path = name.split('/').map(encodeURIComponent).join('/');
    const headers = range && { range: rangeHeader(range) };
    const response = await folder.fetch(`${ORIGIN}/${path}`, { method, ...(headers && { headers }) });
    if (response.status === 404) return null;
    if (!response.ok) {
      throw new StoreFailed(`${method} ${name} on disk`, `answered ${response.status}`, { status: response.status });
    }
    // The listing of a folder has no length.
    return response.headers.has('content-length') ? response : null;
  }

  return {
    async head(name) {
      const response = await ask('HEAD', name);
      return response && infoOf(response);
    },
    async get(name, range) {
      const response = await ask('GET', name, range);
      if (!response?.body) return null;
      const isWhole = response.status !== 206;
      return { ...infoOf(response), stream: range && isWhole ? sliced(response.body, range) : response.body };
    },
  };
}

/** The service sends no ETag; the time of the last write, in seconds, and the size replace it. */
function infoOf(response: Response): StoredInfo {
  const modified = Date.parse(response.headers.get('last-modified') ?? '');
  const size = toldSize(response);
  return { size, etag: Number.isNaN(modified) ? '' : `W/"${modified.toString(36)}-${size?.toString(36)}"` };
}
