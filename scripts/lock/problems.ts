/** Problems of a lock file: https://docs.npmjs.com/cli/configuring-npm/package-lock-json */
import * as z from 'zod';

/**
 * Licences of packages that may be used to build, test and run this project. None of them affects the project's own
 * code.
 */
const LICENCES: ReadonlySet<string> = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unlicense',
]);

/**
 * Development tools, by name, with licences that have conditions only for changing or linking them. They are used
 * unchanged.
 */
const EXCEPTIONS: Readonly<Record<string, readonly RegExp[]>> = {
  'LGPL-3.0-or-later': [/^@img\/sharp-/],
  'MPL-2.0': [/^lightningcss(-|$)/, /^axe-core$/],
};

const lockSchema = z.object({
  lockfileVersion: z.literal(3),
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      license: z.string().optional(),
      link: z.boolean().optional(),
      optional: z.boolean().optional(),
      os: z.array(z.string()).optional(),
      cpu: z.array(z.string()).optional(),
      hasInstallScript: z.boolean().optional(),
    }),
  ),
});

const manifestSchema = z.object({
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
  allowScripts: z.record(z.string(), z.boolean()).default({}),
});

type LockedPackage = z.output<typeof lockSchema>['packages'][string];

const EXACT_VERSION = /^\d+\.\d+\.\d+(-[\w.]+)?$/;

/** One line for each problem. Throws ZodError if this is not a lock file of a known version. */
export function lockProblems(lock: unknown, manifest: unknown): string[] {
  const { dependencies, devDependencies, allowScripts } = manifestSchema.parse(manifest);
  const { packages } = lockSchema.parse(lock);
  const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
    ([, range]) => !EXACT_VERSION.test(range),
  );
  const locked = Object.entries(packages).filter(([path]) => path !== '');
  return [
    ...loose.map(([name, range]) => `${name}: ${range} is not one exact version`),
    ...locked.flatMap(([path, entry]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return packageProblems(name, entry, allowScripts[name] === true).map((problem) => `${name}: ${problem}`);
    }),
  ];
}

function packageProblems(name: string, entry: LockedPackage, mayRunScripts: boolean): string[] {
  const problems: string[] = [];
  // npm omits the address for the configured registry, and writes it for all other sources.
  if (entry.resolved !== undefined || entry.link) problems.push('comes from elsewhere than the registry');
  if (!EXACT_VERSION.test(entry.version ?? '')) problems.push('has no exact version');
  if (entry.integrity === undefined && !isForOtherPlatform(entry)) problems.push('has no hash');
  if (entry.integrity !== undefined && !entry.integrity.startsWith('sha512-'))
    problems.push('has a hash that is not SHA-512');
  if (entry.hasInstallScript && !mayRunScripts) problems.push('has an install script that is not allowed');
  if (entry.license !== undefined && !isAllowed(name, entry.license)) problems.push(`has the licence ${entry.license}`);
  if (entry.license === undefined && !isForOtherPlatform(entry)) problems.push('names no licence');
  return problems;
}

/** Lock files are written on Linux, where npm does not resolve optional packages of other systems. */
function isForOtherPlatform({ optional, os, cpu }: LockedPackage): boolean {
  return optional === true && (os !== undefined || cpu !== undefined);
}

/** One side of an OR is enough; all sides of an AND are needed. */
function isAllowed(name: string, expression: string): boolean {
  const isKnown = (licence: string) =>
    LICENCES.has(licence) || (EXCEPTIONS[licence] ?? []).some((allowed) => allowed.test(name));
  return expression
    .replace(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((licence) => isKnown(licence.trim())));
}
