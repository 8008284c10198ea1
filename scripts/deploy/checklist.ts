/** What Cloudflare asks for before a deployment: what of it was found, and the command for what is missing. */

/** `undefined`: could not be checked, because wrangler is not logged in or Cloudflare did not answer. */
export interface Found {
  /** Name of the worker in wrangler.toml. */
  worker: string;
  bucket: string;
  isLoggedIn: boolean;
  hasBucket: boolean | undefined;
  hasKeys: boolean | undefined;
  models: readonly { name: string; megabytes: number; problem: string | undefined }[];
}

interface Item {
  isDone: boolean | undefined;
  what: string;
  command?: string;
}

/** Above this a completion certainly does not fit the 10 ms of processor time of the free plan (docs/deploy.md). */
const FREE_PLAN_CPU_MS = 10;

export function checklist(found: Found): string[] {
  const { worker, bucket, models } = found;
  const names = models.map(({ name }) => name).join(' ');
  const items: Item[] = [
    { isDone: found.isLoggedIn, what: 'account: wrangler is logged in', command: 'npx wrangler login' },
    { isDone: found.hasBucket, what: `R2 bucket ${bucket}`, command: `npx wrangler r2 bucket create ${bucket}` },
    ...models.map(({ name, megabytes, problem }) => ({
      isDone: problem === undefined,
      what: `model ${name} on this machine: ${problem ?? `${megabytes.toFixed(1)} MB`}`,
    })),
    { isDone: undefined, what: 'models in the bucket', command: `npm run models:push -- ${names} --remote` },
    {
      isDone: found.hasKeys,
      what: 'secret API_KEYS; without it the worker refuses all requests',
      command: 'npm run keys:new -- laptop && npx wrangler secret put API_KEYS',
    },
    {
      isDone: undefined,
      what:
        `plan: Workers Paid. A completion takes more processor time than the ${FREE_PLAN_CPU_MS} ms of the free plan; ` +
        'npm run bench:cost measures it on this machine',
    },
  ];
  return [
    ...items.flatMap(({ isDone, what, command }) => [
      `${isDone === undefined ? '[?]' : isDone ? '[x]' : '[ ]'} ${what}`,
      ...(isDone === true || command === undefined ? [] : [`      ${command}`]),
    ]),
    `then: npm run deploy, and in an editor (docs/editors.md has them all), for llama.vim:`,
    `  let g:llama_config = { 'endpoint_fim': 'https://${worker}.YOUR-SUBDOMAIN.workers.dev/infill', 'api_key': 'KEY' }`,
  ];
}
