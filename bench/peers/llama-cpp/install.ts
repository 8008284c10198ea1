/**
 * Installs llama-cpp-python from source, once, into bench/peers/build (ignored by git): pip compiles llama.cpp for the
 * processor at hand, which takes minutes and a C++ compiler.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const REQUIREMENTS = fileURLToPath(new URL('requirements.txt', import.meta.url));
const FOLDER = fileURLToPath(new URL('../build/python/', import.meta.url));
/** The requirements that are installed: written when pip has succeeded. */
const INSTALLED = `${FOLDER}installed.txt`;
/** The library alone, without vision and audio. */
const LIBRARY_ONLY = fileURLToPath(new URL('library-only.cmake', import.meta.url));
const CMAKE_ARGS = `-DLLAVA_BUILD=OFF "-DCMAKE_PROJECT_llama.cpp_INCLUDE=${LIBRARY_ONLY}"`;

export const PYTHON = `${FOLDER}bin/python`;

/** Undefined when llama.cpp can be run with `PYTHON`; otherwise why it cannot. */
export function installLlamaCpp(): string | undefined {
  const wanted = readFileSync(REQUIREMENTS, 'utf8');
  if (existsSync(INSTALLED) && readFileSync(INSTALLED, 'utf8') === wanted) return undefined;
  console.log(`compiling ${wanted.trim()} once, which takes minutes`);
  const source = ['--quiet', '--disable-pip-version-check', '--no-binary', 'llama-cpp-python'];
  const failure =
    run('python3 with venv is needed', 'python3', '-m', 'venv', FOLDER) ??
    run('pip could not build it', PYTHON, '-m', 'pip', 'install', ...source, '--requirement', REQUIREMENTS) ??
    run('the build cannot be imported', PYTHON, '-c', 'import llama_cpp');
  if (failure === undefined) writeFileSync(INSTALLED, wanted);
  return failure;
}

/** Undefined, or `failure` with the last line that the program wrote. */
function run(failure: string, program: string, ...args: string[]): string | undefined {
  const env = { ...process.env, CMAKE_ARGS };
  const { status, error, stderr } = spawnSync(program, args, { env, encoding: 'utf8', maxBuffer: 2 ** 28 });
  if (status === 0) return undefined;
  return `${failure}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`;
}
