/** Which clients will be answered, for a message at start-up. */
import type { Settings } from '../src/settings.ts';

/** Addresses that only this machine can reach. */
export const LOOPBACK = /^(127\.|localhost$|::1$)/;

/** Which clients will be answered, in one line. */
export function accessOf({ keys }: Settings): string {
  if (keys.length > 0) return `API keys: ${keys.map(({ name }) => name).join(', ')}`;
  return 'no API keys: open to this machine, closed to all others (npm run keys:new -- NAME makes a key)';
}
