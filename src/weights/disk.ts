/** Weights in a folder, through the disk service of workerd: GET is the content, HEAD the size of a file. */
import type { WeightSource } from './source.ts';

/** What is used of a binding to a service of workerd. */
export interface FolderService {
  fetch(url: string, init?: { method: 'GET' | 'HEAD' }): Promise<Response>;
}

/** The service looks at the path alone. */
const ORIGIN = 'http://disk';

/** The files of `model` in the folder `models`, as `<model>/<file>`. Rejects with Error when the folder cannot be read. */
export function diskSource(models: FolderService, model: string): WeightSource {
  async function ask(file: string, method: 'GET' | 'HEAD'): Promise<Response | null> {
    const path = [model, ...file.split('/')].map(encodeURIComponent).join('/');
    const response = await models.fetch(`${ORIGIN}/${path}`, { method });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`${path} cannot be read: the disk service says ${response.status}`);
    // The listing of a folder has no length.
    return response.headers.has('content-length') ? response : null;
  }

  return {
    size: async (file) => {
      const response = await ask(file, 'HEAD');
      return response && Number(response.headers.get('content-length'));
    },
    open: async (file) => (await ask(file, 'GET'))?.body ?? null,
  };
}
