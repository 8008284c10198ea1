/** The models folder of the repository. */
import { join } from 'node:path';

export const MODELS = join(import.meta.dirname, '../models');
