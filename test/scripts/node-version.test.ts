import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

/** Runs the script as `npm ci` does: on the Node of node_modules, whatever Node runs npm. */
function run(version: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/node-version.js'], {
    encoding: 'utf8',
    env: { ...process.env, npm_config_user_agent: `npm/10.8.2 node/v${version} linux x64 workspaces/false` },
  });
  return { status, lines: (stdout + stderr).split('\n').filter(Boolean) };
}

describe('scripts/node-version.js', () => {
  it('should explain in one line that an older Node is enough', () => {
    const { status, lines } = run('20.20.2');
    expect(status).toBe(0);
    expect(lines).toEqual([expect.stringMatching(/^Node 20\.20\.2 is enough: /)]);
  });

  it('should say nothing on a Node that all packages support', () => {
    expect(run('24.21.0')).toEqual({ status: 0, lines: [] });
  });

  it('should stop the installation on a Node that is too old', () => {
    const { status, lines } = run('18.20.8');
    expect(status).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/^Node 18\.20\.8 is too old: /)]);
  });
});
