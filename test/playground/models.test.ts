/** The models that the page can ask: those of the service that it knows how to show. */
import { describe, expect, it } from 'vitest';
import { showingMost } from '../../playground/src/canvas/stage.ts';
import { type ModelInfo, modelsOf } from '../../playground/src/service/completions.ts';
import { createApp } from '../../src/app.ts';
import { readBackends } from '../../src/backend/config.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { catalogOf, scriptedEngine } from '../support/scripted-engine.ts';

const backends = readBackends('{"other": {"base_url": "http://127.0.0.1:9/v1", "models": ["chat"]}}', {});

function serviceOf(...models: { id: string; size: number }[]) {
  const engines = models.map(({ id, size }) => {
    const engine = scriptedEngine();
    Object.assign(engine.model, { id, stored: { size, digest: 'ab'.repeat(32), languages: [] } });
    return engine;
  });
  const app = createApp(catalogOf(...engines), gatewayOf(backends));
  return { fetch: async (path: string) => app.request(path) };
}

describe('the models of a service', () => {
  it('should be the local ones with their sizes, the default first, and none of a backend', async () => {
    const models = await modelsOf(serviceOf({ id: 'large', size: 52e6 }, { id: 'little', size: 4e6 }));
    expect(models).toEqual([
      {
        id: 'large',
        sizeBytes: 52e6,
        languages: [],
        canvasWidths: [8, 16, 32],
        revealThreshold: 0.5,
        editThreshold: 0.8,
      },
      {
        id: 'little',
        sizeBytes: 4e6,
        languages: [],
        canvasWidths: [8, 16, 32],
        revealThreshold: 0.5,
        editThreshold: 0.8,
      },
    ]);
  });

  it('should be said to be none where another service answers', async () => {
    const other = { fetch: async () => Response.json({ data: [{ id: 'gpt' }] }) };
    await expect(modelsOf(other)).rejects.toMatchObject({ title: 'No denoiser there' });
  });
});

describe('the model on the stage', () => {
  const model = (id: string, canvasWidths: number[], languages: string[]): ModelInfo => ({
    ...{ id, canvasWidths, languages },
    ...{ sizeBytes: undefined, revealThreshold: 0.5, editThreshold: 0.8 },
  });
  const narrow = model('narrow', [1, 8], ['python', 'javascript']);
  const wide = model('wide', [2, 32], ['javascript']);

  it('should be the one with the widest canvases that knows the language', () => {
    expect(showingMost([narrow, wide], 'javascript')).toBe(wide);
    expect(showingMost([narrow, wide], 'python')).toBe(narrow);
    expect(showingMost([narrow, model('untold', [16], [])], 'python').id).toBe('untold');
  });

  it('should be the one with the widest canvases if none knows the language', () => {
    expect(showingMost([narrow, wide], 'markdown')).toBe(wide);
  });
});
