/** Files under an http or https address: a static host, a release page, a folder that a server shows. Read only. */
import { StoreFailed } from './errors.ts';
import { rangeHeader, sliced, toldSize } from './range.ts';
import { askFollowing, type RequestOptions } from './request.ts';
import type { StoredInfo, WeightStore } from './store.ts';

export interface HttpStoreOptions extends RequestOptions {
  /** Names are appended to it. */
  baseUrl: string;
  /** Sent as `Authorization: Bearer`, only to the origin of the base URL. */
  token?: string | undefined;
}

export function httpStore({ baseUrl, token, ...options }: HttpStoreOptions): WeightStore {
  const base = baseUrl.replace(/\/*$/, '/');
  const headers = {
    // Sizes and hashes are those of the uncompressed file.
    'accept-encoding': 'identity',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };

  async function request(method: string, name: string, extra: Record<string, string> = {}): Promise<Response | null> {
    const what = `${method} ${name} of the origin`;
    const response = await askFollowing(what, base + name, { method, headers: { ...headers, ...extra } }, options);
    if (response.ok) return response;
    await response.body?.cancel();
    if (response.status === 404 || response.status === 410) return null;
    throw new StoreFailed(what, `answered ${response.status}`, { status: response.status });
  }

  return {
    async head(name) {
      const response = await request('HEAD', name);
      if (response === null || toldSize(response) !== undefined) return response && infoOf(response);
      // The range of an answer has the total size, even if the answer has no length.
      const first = await request('GET', name, { range: rangeHeader({ offset: 0, length: 1 }) }).catch(() => null);
      await first?.body?.cancel();
      return { ...infoOf(response), size: first ? toldSize(first) : undefined };
    },
    async get(name, range) {
      const response = await request('GET', name, range && { range: rangeHeader(range) });
      if (response === null) return null;
      if (response.body === null) throw new StoreFailed(`GET ${name} of the origin`, 'no body');
      const isPart = response.status === 206;
      return {
        ...infoOf(response),
        stream: range && !isPart ? sliced(response.body, range) : response.body,
      };
    },
  };
}

function infoOf(response: Response): StoredInfo {
  return { size: toldSize(response), etag: response.headers.get('etag') ?? '' };
}
