/**
 * The worker as plain workerd needs it: modules in a folder, and the runtime settings of wrangler.toml next to them.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

/** Where `npm run build:worker` puts it. */
export const BUNDLE_FOLDER = 'build/self-hosted';
/** Static files of the service, inside it. */
export const ASSETS_FOLDER = 'playground';
const DESCRIPTION = 'bundle.json';

const schema = z.object({
  /** File of the module that runs first. */
  main: z.string(),
  /** Files of the WASM modules, by which the main one imports them. */
  wasm: z.array(z.string()),
  compatibilityDate: z.string(),
  compatibilityFlags: z.array(z.string()),
});

export type BundleDescription = z.output<typeof schema>;

export interface Bundle extends BundleDescription {
  folder: string;
}

export const descriptionPath = (folder: string) => join(folder, DESCRIPTION);

/** Rejects with Error when there is no bundle in the folder. */
export async function readBundle(folder: string): Promise<Bundle> {
  const path = descriptionPath(folder);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`${path} is missing: npm run build:worker makes it`, { cause });
  }
  return { ...schema.parse(JSON.parse(text)), folder };
}
