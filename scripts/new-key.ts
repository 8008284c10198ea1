/** Makes an API key: `npm run keys:new -- NAME`. Prints the key, which is kept nowhere, and the line by which the service knows it. */
import { newKey } from '../src/middleware/api-keys.ts';
import { readSettings } from '../src/settings.ts';

const [name, ...rest] = process.argv.slice(2);
if (name === undefined || rest.length > 0) {
  console.error('usage: npm run keys:new -- NAME');
  process.exit(2);
}
const { key, line } = await newKey(name);
try {
  readSettings({ API_KEYS: line });
} catch {
  console.error('a name has at most 64 letters, digits and . _ @ -');
  process.exit(2);
}
console.log(`key, shown this once:   ${key}`);
console.log(`add to API_KEYS:        ${line}`);
