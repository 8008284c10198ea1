/**
 * Follows README.md as a newcomer does: clones this repository, then runs each command that the page shows, in its
 * order, on the oldest and on the newest Node that are supported, and checks what comes. `npm run test:newcomer`, or
 * `npm run test:newcomer -- 24` for one Node; CI runs both. It clones the last commit, needs git, bash, curl and the
 * registry of npm, and takes some minutes.
 */
import { Checkout, type Versions } from './checkout.ts';
import { commandsOf } from './commands.ts';
import { expectationOf, type Newcomer } from './expectations.ts';

/** Node 20 comes with an npm 10, Node 24 with an npm 11. */
const VERSIONS: readonly Versions[] = [
  { node: '20.20.2', npm: '10.8.2' },
  { node: '24.21.0', npm: '11.19.1' },
];

/** They end a run early, without leaving processes or files. */
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

const [major] = process.argv.slice(2);
const chosen = VERSIONS.filter(({ node }) => major === undefined || node.startsWith(`${major}.`));
if (chosen.length === 0)
  throw new Error(`usage: run.ts [${VERSIONS.map(({ node }) => node.split('.')[0]).join(' | ')}]`);
for (const versions of chosen) await follow(versions);

async function follow(versions: Versions): Promise<void> {
  console.log(`a newcomer with Node ${versions.node} and npm ${versions.npm}`);
  const checkout = await Checkout.create();
  const leave = () => checkout.remove().finally(() => process.exit(1));
  for (const signal of SIGNALS) process.once(signal, leave);
  try {
    await checkout.prepare(versions);
    const readme = await checkout.run('cat README.md');
    const nodeMajor = Number(versions.node.split('.')[0]);
    const newcomer: Newcomer = { checkout, readme, nodeMajor, service: undefined };
    for (const command of commandsOf(readme)) {
      const started = performance.now();
      await expectationOf(command).check(newcomer, command);
      console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${command.split('\n')[0]}`);
    }
    await newcomer.service?.interrupt();
  } finally {
    for (const signal of SIGNALS) process.off(signal, leave);
    await checkout.remove();
  }
}
