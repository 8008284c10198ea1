/** A whole service with an operator's settings, over the scripted engine. */

import { createApp, type OperatorOptions } from '../../src/app.ts';
import { type ApiKey, newKey } from '../../src/middleware/api-keys.ts';
import type { LogLine } from '../../src/middleware/observe.ts';
import { readSettings } from '../../src/settings.ts';
import { post } from '../support/requests.ts';
import { catalogOf, helloScript, type Script, scriptedEngine } from '../support/scripted-engine.ts';

export const PROMPT = 'the text that nobody else may read';

export function serviceWith(operations: OperatorOptions = {}, script: Script = helloScript) {
  const engine = scriptedEngine(script);
  const lines: LogLine[] = [];
  const app = createApp(catalogOf(engine), undefined, { log: (line) => lines.push(line), ...operations });
  const complete = (fields: object = {}, headers: Record<string, string> = {}) =>
    post(
      app,
      '/v1/completions',
      { model: 'nano', prompt: PROMPT, ...fields },
      { headers: { 'content-type': 'application/json', ...headers } },
    );
  return { app, engine, lines, complete };
}

/** Fresh keys of the names, and how the service knows them. */
export async function keysOf(...names: string[]): Promise<{ texts: string[]; keys: readonly ApiKey[] }> {
  const made = await Promise.all(names.map((name) => newKey(name)));
  const { keys } = readSettings({ API_KEYS: made.map(({ line }) => line).join('\n') });
  return { texts: made.map(({ key }) => key), keys };
}
