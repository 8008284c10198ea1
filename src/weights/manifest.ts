/** manifest.json: the files of a model with their sizes and SHA-256, against which everything else is verified. */
import * as z from 'zod';
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import type { WeightSource } from './source.ts';
import { isName } from './store.ts';

export const MANIFEST = 'manifest.json';
export const CONFIG = 'config.json';
export const TOKENIZER = 'tokenizer.json';
export const WEIGHTS = 'model.safetensors';

/** Thousands of files; what is longer is another file, perhaps one that does not fit into memory. */
const MAX_MANIFEST_CHARACTERS = 2 ** 20;

const schema = z.object({
  name: z.string().min(1),
  /** Unix time of the release, in seconds. */
  created: z.int().min(0).optional(),
  /** Languages that the model was trained on. */
  languages: z.array(z.string().min(1)).optional(),
  files: z.array(
    z.object({
      path: z.string().refine(isName, 'must be a path inside the folder of the model'),
      size: z.int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});

export type Manifest = z.output<typeof schema>;
export type ManifestFile = Manifest['files'][number];

/**
 * Reads the manifest of `model`.
 * @throws WeightsMissing if there is none, WeightsDamaged if it is invalid or of another model.
 */
export async function readManifest(source: WeightSource, model: string): Promise<Manifest> {
  return (await readManifestText(source, model)).manifest;
}

/** Like `readManifest`, with the original text of the source. */
export async function readManifestText(source: WeightSource, model: string) {
  const body = await source.open(MANIFEST);
  if (body === null) throw new WeightsMissing([MANIFEST]);
  const text = await boundedText(body);
  const manifest = parseManifest(text);
  if (manifest.name !== model) throw new WeightsDamaged(MANIFEST, `name ${model}`, `name ${manifest.name}`);
  for (const path of [CONFIG, TOKENIZER, WEIGHTS]) fileOf(manifest, path);
  return { text, manifest };
}

async function boundedText(body: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_MANIFEST_CHARACTERS) throw new WeightsDamaged(MANIFEST, 'a manifest', 'something far longer');
  }
  return text + decoder.decode();
}

/** @throws WeightsDamaged when the text is no manifest. */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new WeightsDamaged(MANIFEST, 'JSON', `${text.length} characters of something else`);
  }
  const result = schema.safeParse(json);
  if (!result.success) throw new WeightsDamaged(MANIFEST, 'a manifest', z.prettifyError(result.error));
  return result.data;
}

/** The entry of a file. @throws WeightsDamaged when the manifest lists no such file. */
export function fileOf(manifest: Manifest, path: string): ManifestFile {
  const file = manifest.files.find((entry) => entry.path === path);
  if (file === undefined) throw new WeightsDamaged(MANIFEST, `an entry for ${path}`, 'none');
  return file;
}
