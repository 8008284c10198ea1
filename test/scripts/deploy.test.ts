import { describe, expect, it } from 'vitest';
import { checklist, type Found } from '../../scripts/deploy/checklist.ts';

const found: Found = {
  worker: 'fill',
  bucket: 'weights',
  isLoggedIn: true,
  hasBucket: true,
  hasKeys: true,
  models: [{ name: 'nano', megabytes: 3.8, problem: undefined }],
};

describe('the checklist of a deployment', () => {
  it('should give no command for what is there', () => {
    const lines = checklist(found);
    expect(lines).toContain('[x] R2 bucket weights');
    expect(lines.join('\n')).not.toMatch(/wrangler (login|r2|secret)/);
  });

  it('should give the command below what is missing', () => {
    const lines = checklist({ ...found, hasBucket: false });
    expect(lines[lines.indexOf('[ ] R2 bucket weights') + 1]).toBe('      npx wrangler r2 bucket create weights');
  });

  it('should say what could not be checked', () => {
    const lines = checklist({ ...found, isLoggedIn: false, hasBucket: undefined, hasKeys: undefined });
    expect(lines).toContain('[ ] account: wrangler is logged in');
    expect(lines).toContain('[?] R2 bucket weights');
  });

  it('should name a model that is damaged', () => {
    const models = [{ ...found.models[0]!, problem: 'config.json has 3 bytes, the manifest says 4' }];
    expect(checklist({ ...found, models }).join('\n')).toMatch(/^\[ \] model nano .*config\.json has 3 bytes/m);
  });

  it('should end with the line for an editor', () => {
    expect(checklist(found).at(-1)).toContain('https://fill.YOUR-SUBDOMAIN.workers.dev/infill');
  });
});
