import { describe, expect, it } from 'vitest';
import { auditVerdict } from '../../scripts/lock/audit-verdict.ts';
import { lockProblems } from '../../scripts/lock/problems.ts';

const right = { version: '1.2.3', integrity: 'sha512-abc', license: 'MIT' };
const manifest = { dependencies: { a: '1.2.3' }, allowScripts: { builder: true } };
const problemsOf = (entry: object, name = 'a') =>
  lockProblems({ lockfileVersion: 3, packages: { '': {}, [`node_modules/${name}`]: entry } }, manifest);

describe('a lock file', () => {
  it.each([
    ['a plain package', right],
    ['a choice of licences', { ...right, license: '(MIT OR GPL-3.0)' }],
    ['several licences that are all allowed', { ...right, license: 'Apache-2.0 AND MIT' }],
    ['a package of another platform that was not looked at', { version: '1.0.0', optional: true, os: ['darwin'] }],
  ])('should be taken with %s', (_, entry) => {
    expect(problemsOf(entry)).toEqual([]);
  });

  it.each([
    ['no hash', { ...right, integrity: undefined }, 'a: has no hash'],
    ['a weak hash', { ...right, integrity: 'sha1-abc' }, 'a: has a hash that is not SHA-512'],
    [
      'another source',
      { ...right, resolved: 'git+ssh://git@host/a.git#1' },
      'a: comes from elsewhere than the registry',
    ],
    ['a link', { ...right, link: true }, 'a: comes from elsewhere than the registry'],
    ['no version', { ...right, version: undefined }, 'a: has no exact version'],
    ['a licence that is not listed', { ...right, license: 'GPL-3.0' }, 'a: has the licence GPL-3.0'],
    ['a part of a licence that is not', { ...right, license: 'MIT AND GPL-3.0' }, 'a: has the licence MIT AND GPL-3.0'],
    ['no licence', { ...right, license: undefined }, 'a: names no licence'],
    ['an install script', { ...right, hasInstallScript: true }, 'a: has an install script that is not allowed'],
  ])('should be refused with %s', (_, entry, problem) => {
    expect(problemsOf(entry)).toEqual([problem]);
  });

  it('should be accepted with a permission of a single package', () => {
    expect(problemsOf({ ...right, hasInstallScript: true }, 'builder')).toEqual([]);
    expect(problemsOf({ ...right, hasInstallScript: true }, 'a/node_modules/builder')).toEqual([]);
    expect(problemsOf({ ...right, license: 'MPL-2.0' }, 'lightningcss-linux-x64-gnu')).toEqual([]);
    expect(problemsOf({ ...right, license: 'MPL-2.0' }, 'not-lightningcss')).toHaveLength(1);
  });

  it('should be refused when the versions of package.json are ranges', () => {
    const ranges = { dependencies: { a: '^1.2.3' }, devDependencies: { b: '*', c: '1.0.0' } };
    expect(lockProblems({ lockfileVersion: 3, packages: {} }, ranges)).toEqual([
      'a: ^1.2.3 is not one exact version',
      'b: * is not one exact version',
    ]);
  });
});

describe('the answer of an audit', () => {
  const withSeverity = (severity: string) =>
    JSON.stringify({ vulnerabilities: { a: { severity, fixAvailable: true } } });

  it.each(['high', 'critical'])('should refuse what is %s', (severity) => {
    expect(auditVerdict(withSeverity(severity))).toEqual({ type: 'refused', packages: [`a (${severity})`] });
  });

  it('should let pass what is less, and nothing', () => {
    expect(auditVerdict(withSeverity('moderate'))).toEqual({ type: 'clean' });
    expect(auditVerdict('{"vulnerabilities":{}}')).toEqual({ type: 'clean' });
  });

  it('should not be taken for clean when there is none', () => {
    expect(auditVerdict('{"message":"405 Method Not Allowed"}')).toEqual({
      type: 'unknown',
      reason: '405 Method Not Allowed',
    });
    for (const output of ['', '<html>', '{}', 'null']) expect(auditVerdict(output).type).toBe('unknown');
  });
});
