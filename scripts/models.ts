/**
 * The models of a store: `npm run models:push -- nano`, `npm run models:list`, `npm run models:verify [-- nano]`. The
 * default store is the bucket of `npm start`; `--remote` is the R2 bucket of the account that wrangler is logged in to,
 * and `--s3` the storage of the variables `S3_…`. See docs/weights.md.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { list, listLines, push, verify } from './models/actions.ts';
import { openStore } from './models/open-store.ts';

const USAGE =
  'usage: models.ts push NAME… | list | verify [NAME…]  [--remote | --s3 [--env-file FILE]] [--models FOLDER] [--state FOLDER] [--force]';

const root = join(import.meta.dirname, '..');
try {
  process.exitCode = await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** The exit code. */
async function run(): Promise<number> {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      remote: { type: 'boolean', default: false },
      s3: { type: 'boolean', default: false },
      force: { type: 'boolean', default: false },
      'env-file': { type: 'string', multiple: true, default: [] as string[] },
      models: { type: 'string', default: join(root, 'models') },
      state: { type: 'string', default: join(root, '.wrangler/state') },
    },
  });
  const [action, ...names] = positionals;
  const envFiles = options['env-file'];
  const isUsable = action === 'list' || action === 'verify' || (action === 'push' && names.length > 0);
  if (!isUsable || (options.remote && options.s3) || (envFiles.length > 0 && !options.s3)) {
    console.error(USAGE);
    return 2;
  }
  const { remote, s3, state } = options;
  const { store, close } = await openStore({ remote, s3, state, envFiles }, join(root, 'wrangler.toml'));
  try {
    if (action === 'push') {
      for (const name of names) await push(store, join(options.models, name), process.stderr, { force: options.force });
    }
    const listed = await list(store);
    if (action !== 'verify') {
      console.log(listLines(listed).join('\n'));
      return listed.models.every(({ problems }) => problems.length === 0) ? 0 : 1;
    }
    const models = names.length > 0 ? names : listed.models.map(({ model }) => model);
    const wrong: string[] = [];
    for (const model of models) wrong.push(...(await verify(store, model, process.stderr)));
    console.log(
      wrong.length > 0 ? `wrong: ${wrong.join(', ')}` : `${models.length} models are what their manifests say`,
    );
    return wrong.length > 0 ? 1 : 0;
  } finally {
    await close();
  }
}
