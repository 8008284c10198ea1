/** Interprets the output of `npm audit --json`. */
import * as z from 'zod';

/** Less severe vulnerabilities are handled at the next update of dependencies. */
const REFUSED = ['high', 'critical'] as const;

const report = z.object({
  vulnerabilities: z.record(z.string(), z.object({ severity: z.string(), fixAvailable: z.unknown() })),
});

export type AuditVerdict =
  | { type: 'clean' }
  | { type: 'refused'; packages: string[] }
  /** The advisory service did not answer, so nothing is known. */
  | { type: 'unknown'; reason: string };

export function auditVerdict(output: string): AuditVerdict {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    return { type: 'unknown', reason: 'npm audit said nothing that can be read' };
  }
  const { success, data } = report.safeParse(value);
  if (!success) {
    const failure = z.object({ message: z.string() }).safeParse(value);
    return { type: 'unknown', reason: failure.data?.message ?? 'npm audit gave no report' };
  }
  const packages = Object.entries(data.vulnerabilities)
    .filter(([, { severity }]) => (REFUSED as readonly string[]).includes(severity))
    .map(([name, { severity }]) => `${name} (${severity})`);
  return packages.length > 0 ? { type: 'refused', packages } : { type: 'clean' };
}
