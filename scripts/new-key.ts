/**
 * Makes an API key: `npm run keys:new -- NAME [--hub] [--metrics]`. Prints the key, which is not stored, and the line
 * for the service's settings. With `--hub` the key has the form of the Hugging Face Hub's tokens, the only form that
 * clients of the mirror send. With `--metrics` it only opens GET /metrics.
 */
import { parseArgs } from 'node:util';
import { newKey } from '../src/middleware/api-keys.ts';
import { readSettings } from '../src/settings.ts';

const USAGE = 'usage: npm run keys:new -- NAME [--hub] [--metrics]';

const { name, hub, metrics } = readArguments();
const { key, line } = await newKey(name, { forHub: hub, ...(metrics && { scope: 'metrics' }) });
try {
  readSettings({ API_KEYS: line });
} catch {
  console.error('a name has at most 64 letters, digits and . _ @ -');
  process.exit(2);
}
console.log(`key, shown this once:   ${key}`);
console.log(`add to API_KEYS:        ${line}`);

function readArguments(): { name: string; hub: boolean; metrics: boolean } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { hub: { type: 'boolean', default: false }, metrics: { type: 'boolean', default: false } },
    });
    const [name, ...rest] = positionals;
    if (name !== undefined && rest.length === 0) return { name, ...values };
  } catch {
    // An unknown option.
  }
  console.error(USAGE);
  process.exit(2);
}
