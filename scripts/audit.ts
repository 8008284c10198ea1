/**
 * Asks the registry's advisory service for known holes in what is locked: `npm run audit`. Fails for high and critical ones. A registry that
 * has no such service is named and is no failure: a mirror must not stop a build.
 */
import { spawnSync } from 'node:child_process';
import { auditVerdict } from './lock/audit-verdict.ts';

const { stdout } = spawnSync('npm', ['audit', '--json'], { encoding: 'utf8' });
const verdict = auditVerdict(stdout ?? '');
if (verdict.type === 'clean') console.log('no known holes of severity high or critical');
else if (verdict.type === 'unknown') console.log(`NOT AUDITED: the registry gave no advisories (${verdict.reason})`);
else {
  console.error(`known holes: ${verdict.packages.join(', ')}`);
  process.exitCode = 1;
}
