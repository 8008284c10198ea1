/**
 * Asks the registry's advisory service for known vulnerabilities of the locked packages: `npm run audit`. Fails for
 * high and critical ones. A registry without such a service is named, but is not a failure: a mirror must not stop a
 * build.
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
