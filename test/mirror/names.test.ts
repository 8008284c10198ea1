import { describe, expect, it } from 'vitest';
import { checkRepo, checkRevision, isAllowed, isSafePath, repoFolder, revisionName } from '../../src/mirror/names.ts';
import { isName } from '../../src/weights/store.ts';

describe('the name of a repository', () => {
  it.each(['gpt2', 'Qwen/Qwen3-0.6B', 'inclusionAI/LLaDA2.0-mini', 'a/b', '_a/b_', 'a.b/c-d_e.f'])(
    'can be %s, and is a name in the store',
    (repo) => {
      expect(checkRepo(repo)).toBe(repo);
      expect(isName(`${repoFolder(repo)}/refs/main.json`)).toBe(true);
    },
  );

  it.each([
    ...['', '/', 'a/', '/a', 'a/b/c', '..', '../a', 'a/..', './a', 'a/.', '.a/b', 'a./b', '-a/b', 'a/b-'],
    ...['a--b/c', 'a/b--c', 'a..b/c', 'a/b.git', 'a/b.ipynb', 'a/b.GIT', 'a b/c', 'a%2fb', 'a\\b/c', 'a?b/c', 'a#b/c'],
    ...['ä/b', 'a/b\n', 'a/b\u0000', '@a/b', 'a:b/c', 'http://a/b', `${'a'.repeat(97)}/b`],
  ])('cannot be %j', (repo) => {
    expect(() => checkRepo(repo)).toThrow(expect.objectContaining({ status: 404, code: 'RepoNotFound' }));
  });

  it('should not have the folder of another one', () => {
    expect(repoFolder('a/b')).toBe('hf/models/a--b');
    expect(() => checkRepo('a--b')).toThrow();
  });
});

describe('a revision', () => {
  it.each(['main', 'v1.0', 'refs/pr/12', 'feature/a-b_c', '0123456789abcdef0123456789abcdef01234567'])(
    'can be %s, and is a part of a name in the store',
    (revision) => {
      expect(checkRevision(revision)).toBe(revision);
      expect(isName(`a/${revisionName(revision)}.json`)).toBe(true);
      expect(revisionName(revision)).not.toContain('/');
    },
  );

  it.each([
    '',
    '..',
    '../main',
    'a/../b',
    'a//b',
    '/main',
    'main/',
    'a b',
    'a?b',
    'a#b',
    'a\\b',
    'a=b',
    'ä',
    '-a',
    'a\n',
  ])('cannot be %j', (revision) => {
    expect(() => checkRevision(revision)).toThrow(expect.objectContaining({ status: 404, code: 'RevisionNotFound' }));
  });
});

describe('the path of a file', () => {
  it.each(['a', 'a/b.c', '.gitattributes', 'a/.b', 'with blank/ü (1).bin', '...'])('can be %j', (path) => {
    expect(isSafePath(path)).toBe(true);
  });

  it.each([
    '',
    '.',
    '..',
    '../a',
    'a/../b',
    '/a',
    'a//b',
    'a/',
    'a\\..\\b',
    'C:/a',
    'a\u0000b',
    'a\nb',
    'a'.repeat(2000),
  ])('cannot be %j', (path) => {
    expect(isSafePath(path)).toBe(false);
  });
});

it('should mirror what a pattern allows, and nothing else', () => {
  expect(isAllowed(['acme/*'], 'acme/tiny')).toBe(true);
  expect(isAllowed(['acme/*'], 'acme-evil/tiny')).toBe(false);
  expect(isAllowed(['acme/tiny'], 'acme/tiny-2')).toBe(false);
  expect(isAllowed(['acme/tiny'], 'ACME/Tiny')).toBe(true);
  expect(isAllowed(['*'], 'a/b')).toBe(true);
  expect(isAllowed([], 'a/b')).toBe(false);
});
