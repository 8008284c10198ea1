/** The models folder of the repository, and whether the shipped model is in it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const MODELS = join(import.meta.dirname, '../../models');

/** Only a working copy whose model is still being trained may leave out the tests that need it. */
export const noModelYet = !existsSync(join(MODELS, 'nano/model.safetensors')) && process.env.CI !== 'true';
