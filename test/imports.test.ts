/**
 * Imports point one way. The layers of src/ are written down here and nowhere else: a file imports from its own layer
 * and from those below it, types included. No files import each other in a circle, and only tests import tests.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';
import { parseSync } from 'vite';
import { describe, expect, it } from 'vitest';

/** Bottom to top. Folders on one line do not import each other. */
const LAYERS: readonly (readonly string[])[] = [
  ['src/wasm.d.ts', 'src/log.ts', 'src/version.ts', 'src/detached-text.ts'],
  ['src/http/'],
  ['src/metrics/'],
  ['src/middleware/'],
  ['src/tokenizer/'],
  ['src/denoiser/transformer/'],
  ['src/denoiser/three-stream/', 'src/denoiser/single-stream/'],
  ['src/diffusion/'],
  ['src/engine/'],
  ['src/engine/three-stream/', 'src/engine/single-stream/'],
  ['src/engine/autoregressive/'],
  ['src/engine/create-three-stream.ts'],
  ['src/engine/create.ts'],
  ['src/settings.ts'],
  ['src/weights/', 'src/backend/'],
  ['src/mirror/'],
  ['src/api/errors.ts'],
  ['src/api/editor/'],
  ['src/api/completion/'],
  ['src/api/dialects/', 'src/api/backends/', 'src/api/service/'],
  ['src/api/openapi/'],
  ['src/app.ts'],
  ['src/service.ts', 'src/supervisor.ts'],
  ['src/worker.ts', 'src/self-hosted.ts'],
];

/** What each folder of the repository may import from; `build` has what `npm run build` writes. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  src: ['src', 'build'],
  playground: ['playground', 'examples', 'src', 'build'],
  support: ['support', 'src'],
  scripts: ['scripts', 'support', 'playground', 'examples', 'src'],
  bench: ['bench', 'scripts', 'support', 'src', 'build'],
  examples: ['examples'],
  test: ['test', 'bench', 'examples', 'scripts', 'support', 'playground', 'src', 'build', 'package.json'],
};

interface Import {
  from: string;
  to: string;
}

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...Object.keys(FOLDERS)], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file.endsWith('.ts'));

const imports = files.flatMap(importsOf);

/** The relative imports of a file: static ones, types and re-exports among them, and dynamic ones. */
function importsOf(file: string): Import[] {
  const source = readFileSync(file, 'utf8');
  const { module, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]!.message}`);
  const exported = module.staticExports.flatMap(({ entries }) => entries.map(({ moduleRequest }) => moduleRequest));
  const specifiers = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...exported.flatMap((request) => request?.value ?? []),
    ...module.dynamicImports.map(({ moduleRequest: { start, end } }) => source.slice(start + 1, end - 1)),
  ];
  return specifiers
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => ({ from: file, to: join(dirname(file), specifier.replace(/\?.*/, '')) }));
}

function folderOf(path: string): string {
  return path.split('/')[0]!;
}

const PLACES = LAYERS.flatMap((members, layer) => members.map((path, member) => ({ path, layer, member })));

/** Index of the layer, and which of its members; a folder stands for its files that no longer path matches. */
function placeOf(file: string): { layer: number; member: number } | undefined {
  return PLACES.filter(({ path }) => file.startsWith(path)).reduce<(typeof PLACES)[number] | undefined>(
    (longest, place) => (longest && longest.path.length > place.path.length ? longest : place),
    undefined,
  );
}

function isUpward({ from, to }: Import): boolean {
  const [importer, imported] = [placeOf(from), placeOf(to)];
  if (importer === undefined || imported === undefined) return false;
  if (imported.layer === importer.layer) return imported.member !== importer.member;
  return imported.layer > importer.layer;
}

/** Circles of files, each from a file back to itself; one for each import that closes one. */
function circlesOf(edges: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const circles: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  function visit(file: string): void {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (path.includes(file) || done.has(file)) return;
    path.push(file);
    for (const to of next.get(file) ?? []) visit(to);
    path.pop();
    done.add(file);
  }
  for (const file of next.keys()) visit(file);
  return circles;
}

const arrow = ({ from, to }: Import) => `${from} → ${to}`;

describe('imports', () => {
  it('should be found', () => {
    const found = imports.map(arrow);
    expect(found).toContain('src/app.ts → src/http/errors.ts');
    expect(found).toContain('scripts/start.ts → scripts/local-bucket.ts');
    expect(isUpward({ from: 'src/http/errors.ts', to: 'src/app.ts' })).toBe(true);
    expect(isUpward({ from: 'src/engine/engine.ts', to: 'src/engine/three-stream/model.ts' })).toBe(true);
    expect(circlesOf([...imports, { from: 'src/http/errors.ts', to: 'src/app.ts' }])).not.toEqual([]);
  });

  it('should be from files that have a layer', () => {
    expect(files.filter((file) => folderOf(file) === 'src' && placeOf(file) === undefined)).toEqual([]);
  });

  it('should point from a layer to itself or to those below', () => {
    expect(imports.filter(isUpward).map(arrow)).toEqual([]);
  });

  it('should make no circle in src', () => {
    expect(circlesOf(imports.filter(({ from }) => folderOf(from) === 'src'))).toEqual([]);
  });

  it('should stay within what each folder may import from', () => {
    const isStray = ({ from, to }: Import) => !FOLDERS[folderOf(from)]!.includes(folderOf(to));
    expect(imports.filter(isStray).map(arrow)).toEqual([]);
  });
});
