/** What must come of each command of README.md. A command that none of these names is an error. */
import assert from 'node:assert/strict';
import prompts from '../../examples/prompts.json' with { type: 'json' };
import { llamaVimRequest } from '../support/llama-vim.ts';
import type { Checkout, Running } from './checkout.ts';

/** The port of the README's addresses. */
const SHOWN_PORT = '8787';

/** A quick part of the tests: CI runs all of them. */
const QUICK_TESTS = '--project unit test/readme.test.ts';

export interface Newcomer {
  checkout: Checkout;
  /** README.md of the clone. */
  readme: string;
  /** The major version of the Node that was installed before. */
  nodeMajor: number;
  /** The service that runs now. */
  service: Running | undefined;
}

export interface Expectation {
  command: RegExp;
  /** Rejects if something else comes. */
  check(newcomer: Newcomer, command: string): Promise<void>;
}

/** The plug-in allows a second, in which a busy machine may not finish. */
const NO_HURRY_MS = 60_000;

/** The command to try that `npm start` prints last. */
const HINT = /^ {2}(curl .*)\n/m;

interface Completion {
  choices: { text: string }[];
}

const [example] = prompts;

export const EXPECTATIONS: readonly Expectation[] = [
  { command: /^npm ci && npm start$/, check: installAndStart },
  { command: /^npm ci && npm test$/, check: test },
  { command: /^curl \S+\/v1\/completions /, check: complete },
  { command: /^npm run bench:typing$/, check: isScript },
  { command: /^npm start -- --model nano$/, check: startChosen },
  { command: /^let g:llama_config = /, check: completeInVim },
  { command: /^npm run serve$/, check: serve },
  { command: /^npm run deploy -- --dry-run$/, check: rehearseDeployment },
  { command: /^npm run deploy -- --push-models$/, check: push },
];

/** The one expectation of a command. */
export function expectationOf(command: string): Expectation {
  const fitting = EXPECTATIONS.filter((expectation) => expectation.command.test(command));
  if (fitting.length === 1) return fitting[0]!;
  throw new Error(`test/newcomer/expectations.ts has ${fitting.length} expectations for the command: ${command}`);
}

async function installAndStart(newcomer: Newcomer, command: string): Promise<void> {
  const { checkout, nodeMajor } = newcomer;
  const service = await start(newcomer, command, HINT);
  const output = service.output();
  assert.doesNotMatch(output, /\bwarn|deprecated|EBADENGINE|vulnerabilit/i);
  const explained = /^Node [\d.]+ is enough: /m;
  if (nodeMajor < 22) assert.match(output, explained);
  else assert.doesNotMatch(output, explained);
  const hint = output.match(HINT)![1]!;
  const { prompt, acceptable } = prompts.find((entry) => hint.includes(inShell(entry.prompt)))!;
  requireAcceptable(await checkout.run(`${hint} --silent`), acceptable, prompt);
  await loadPage(checkout);
}

/** The page, and all that it refers to. */
async function loadPage({ port }: Checkout): Promise<void> {
  const address = `http://127.0.0.1:${port}/`;
  const page = await (await found(address, 'text/html')).text();
  assert.match(page, /<title>[^<]*Quicksilver/);
  const scripts = [...page.matchAll(/<script[^>]+src="([^"]+)"/g)].map(([, path]) => path!);
  const styles = [...page.matchAll(/<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"/g)].map(([, path]) => path!);
  assert(scripts.length > 0 && styles.length > 0, 'the page has a script and a style');
  for (const path of scripts) await found(new URL(path, address).href, 'javascript');
  for (const path of styles) await found(new URL(path, address).href, 'text/css');
}

async function found(address: string, type: string): Promise<Response> {
  // A client that does not ask for HTML gets JSON at `/`.
  const response = await fetch(address, { headers: { accept: 'text/html,*/*' } });
  assert.equal(response.status, 200, address);
  assert(response.headers.get('content-type')?.includes(type), `${address} is ${type}`);
  return response;
}

/** The packages are installed already. */
async function test({ checkout }: Newcomer, command: string): Promise<void> {
  const output = await checkout.run(`${command.replace('npm ci && ', '')} -- ${QUICK_TESTS}`);
  assert.match(output, /Test Files {2}.*\b1 passed/);
}

/** The answer is the one that the README names, and one that a person has found acceptable. */
async function complete({ checkout, readme }: Newcomer, command: string): Promise<void> {
  const { prompt, acceptable } =
    prompts.find((entry) => command.includes(JSON.stringify(entry.prompt))) ??
    assert.fail('examples/prompts.json has no such prompt');
  const text = requireAcceptable(await checkout.run(`${here(checkout, command)} --silent`), acceptable, prompt);
  const named = readme.match(/The answer is `([^`]+)`/)?.[1];
  assert.equal(text, named, 'the answer that the README names');
}

async function isScript({ checkout }: Newcomer, command: string): Promise<void> {
  const { scripts } = JSON.parse(await checkout.run('cat package.json')) as { scripts: Record<string, string> };
  const name = command.replace('npm run ', '');
  const program = scripts[name]?.match(/node (\S+)$/)?.[1] ?? assert.fail(`npm has no script ${name}`);
  await checkout.run(`test -f ${program}`);
}

/** The models that it names are served, and no others. */
async function startChosen(newcomer: Newcomer, command: string): Promise<void> {
  await start(newcomer, command, HINT);
  const response = await found(`http://127.0.0.1:${newcomer.checkout.port}/v1/models`, 'json');
  const { data } = (await response.json()) as { data: { id: string }[] };
  assert.deepEqual(
    data.map(({ id }) => id),
    command.split(' ').at(-1)!.split(','),
  );
}

/** The request that llama.vim sends with this configuration. */
async function completeInVim({ checkout }: Newcomer, command: string): Promise<void> {
  const endpoint = command.match(/'endpoint_fim': '([^']+)'/)?.[1] ?? assert.fail('no endpoint');
  const { prompt, suffix, acceptable } = example!;
  const lineStart = prompt.lastIndexOf('\n') + 1;
  const response = await fetch(here(checkout, endpoint), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(
      llamaVimRequest({
        prefix: prompt.slice(0, lineStart),
        line: prompt.slice(lineStart),
        suffix,
        extra: [],
        maxPredictMs: NO_HURRY_MS,
      }),
    ),
  });
  assert.equal(response.status, 200);
  const { content } = (await response.json()) as { content: string };
  assert(acceptable.includes(content.trim()), `llama.vim shows ${JSON.stringify(content)}`);
}

async function serve(newcomer: Newcomer, command: string): Promise<void> {
  const { checkout } = newcomer;
  await start(newcomer, `${command} --`, /"message":"serving /);
  const { prompt, suffix, acceptable } = example!;
  const response = await fetch(`http://127.0.0.1:${checkout.port}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt, suffix, max_tokens: 16, editor: true }),
  });
  requireAcceptable(await response.text(), acceptable, prompt);
}

async function rehearseDeployment({ checkout }: Newcomer, command: string): Promise<void> {
  const output = await checkout.run(command);
  assert.match(output, /compressed in all, of a budget of/);
  assert.match(output, /^\[ \] account: .*\n {6}npx wrangler login$/m);
  assert.match(output, /^\[\?\] R2 bucket .*\n {6}npx wrangler r2 bucket create /m);
  assert.match(output, /^\[x\] model \S+ on this machine: [\d.]+ MB$/m);
  assert.match(output, /^\[\?\] secret API_KEYS/m);
  assert.match(output, /^\[\?\] plan: /m);
  assert.match(output, /'endpoint_fim': 'https:\/\/.*\/infill'/);
}

/** It needs an account: the upload goes to the local bucket instead, and the line before has shown the rest. */
async function push({ checkout }: Newcomer): Promise<void> {
  const output = await checkout.run('npm run models:push -- nano');
  assert.match(output, /\bnano\b/);
  assert.match(await checkout.run('npm run models:verify -- nano'), /^1 models are what their manifests say$/m);
}

/** Ends the service that runs, then starts the command on the port of the checkout. */
async function start(newcomer: Newcomer, command: string, ready: RegExp): Promise<Running> {
  const { checkout } = newcomer;
  await newcomer.service?.interrupt();
  newcomer.service = undefined;
  const separator = command.includes(' -- ') || command.endsWith(' --') ? '' : ' --';
  newcomer.service = await checkout.start(`${command}${separator} --port ${checkout.port}`, ready);
  return newcomer.service;
}

/** The text of the completion. */
function requireAcceptable(answer: string, acceptable: readonly string[], prompt: string): string {
  const text = (JSON.parse(answer) as Completion).choices[0]?.text.trim() ?? '';
  assert(acceptable.includes(text), `${JSON.stringify(text)} is no acceptable answer after ${JSON.stringify(prompt)}`);
  return text;
}

/** A command or an address with the port of this service. */
function here({ port }: Checkout, text: string): string {
  return text.replaceAll(`:${SHOWN_PORT}`, `:${port}`);
}

/** A text as JSON within single quotes of a shell. */
function inShell(text: string): string {
  return JSON.stringify(text).replaceAll("'", "'\\''");
}
