/** What the scripts of package.json say when they cannot start: run as npm does, without the builds before them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scripts } from '../../package.json';

const ROOT = join(import.meta.dirname, '../..');
const PATH = [join(ROOT, 'node_modules/.bin'), process.env.PATH].join(delimiter);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-start-up-'));
  await writeFile(join(folder, 'mistyped.env'), 'API_KEY=laptop\n');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the last command of a script, with all that it writes and its exit code. */
async function run(name: keyof typeof scripts, args: readonly string[], settings: Record<string, string> = {}) {
  const command = scripts[name].split('&&').at(-1)!.trim();
  const child = spawn('sh', ['-c', `${command} "$@"`, name, ...args], {
    cwd: ROOT,
    env: { PATH, HOME: folder, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [[code], out, errors] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  return { code: code as number | null, lines: (out + errors).split('\n').filter((line) => line !== '') };
}

const missing = () => join(folder, 'missing');

const WRONG: readonly [string, () => string[], Record<string, string>, string][] = [
  ['a file of settings that is not there', () => ['--env-file', missing()], {}, 'missing'],
  ['the same behind an equals sign', () => [`--env-file=${missing()}`], {}, 'missing'],
  ['a folder in place of a file', () => ['--env-file', folder], {}, 'EISDIR'],
  ['a setting that there is not', () => ['--env-file', join(folder, 'mistyped.env')], {}, 'API_KEY'],
  ['an option that there is not', () => ['--prot', '1'], {}, "Unknown option '--prot'"],
  ['an option without its value', () => ['--port'], {}, '--port'],
  ['a word too many', () => ['small'], {}, 'small'],
  ['a port that there is not', () => ['--port', '65536'], {}, '--port 65536'],
  ['a folder of models that is not there', () => ['--models', missing()], {}, 'missing'],
  ['a bundle that is not there', () => ['--bundle', missing()], {}, 'npm run build:worker'],
  ['a wrong setting', () => [], { TIME_LIMIT_MS: 'soon' }, 'TIME_LIMIT_MS'],
  ['a setting without effect', () => [], { S3_BUCKET: 'weights' }, 'S3_BUCKET'],
];

describe('npm run serve', () => {
  it.each(WRONG)('should log %s as JSON', async (_, args, settings, named) => {
    const { code, lines } = await run('serve', args(), settings);
    expect(code).toBe(1);
    const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(logged).toEqual([{ time: expect.any(String), level: 'error', message: expect.stringContaining(named) }]);
  });
});

describe.each<[keyof typeof scripts, readonly string[]]>([
  ['start', []],
  ['models:list', ['--s3']],
  ['models:verify', ['--s3']],
])('npm run %s', (name, always) => {
  it.each<[string, () => string[], string]>([
    ['an option that there is not', () => ['--prot', '1'], "Unknown option '--prot'"],
    ['a file of settings that is not there', () => ['--env-file', missing()], 'missing'],
  ])('should say %s in one line', async (_, args, named) => {
    const { code, lines } = await run(name, [...always, ...args()]);
    expect(code).toBe(1);
    expect(lines).toEqual([expect.stringContaining(named)]);
  });
});

describe('npm run models:list', () => {
  it('should refuse a file of settings where none is read', async () => {
    const { code, lines } = await run('models:list', ['--env-file', join(folder, 'mistyped.env')]);
    expect([code, lines]).toEqual([2, [expect.stringContaining('[--remote | --s3 [--env-file FILE]]')]]);
  });
});
