import { describe, expect, it } from 'vitest';
import { Breaker, type Permit } from '../../src/backend/breaker.ts';

function setUp() {
  const clock = { ms: 0 };
  const breaker = new Breaker({ failures: 2, openMs: 100, now: () => clock.ms });
  const admit = (): Permit => {
    const permit = breaker.admit();
    if (permit === undefined) throw new Error('turned away');
    return permit;
  };
  return { breaker, clock, admit };
}

describe('a circuit breaker', () => {
  it('should open after failures in a row, and not after failures with a success between', () => {
    const { breaker, admit } = setUp();
    admit().failed();
    admit().succeeded();
    admit().failed();
    expect(breaker.waitMs()).toBe(0);
    admit().failed();
    expect(breaker.admit()).toBeUndefined();
    expect(breaker.waitMs()).toBe(100);
  });

  it('should let one probe through after the pause, and close when it succeeds', () => {
    const { breaker, clock, admit } = setUp();
    for (const _ of [1, 2]) admit().failed();
    clock.ms = 100;
    const probe = admit();
    expect(breaker.admit()).toBeUndefined();
    probe.succeeded();
    for (const _ of [1, 2, 3]) admit();
  });

  it('should pause again when the probe fails', () => {
    const { breaker, clock, admit } = setUp();
    for (const _ of [1, 2]) admit().failed();
    clock.ms = 150;
    admit().failed();
    expect(breaker.waitMs()).toBe(100);
  });

  it('should let another probe through when one is abandoned, or never reports', () => {
    const { breaker, clock, admit } = setUp();
    for (const _ of [1, 2]) admit().failed();
    clock.ms = 100;
    admit().abandoned();
    admit();
    expect(breaker.admit()).toBeUndefined();
    clock.ms = 200;
    admit();
  });

  it('should stay open when a request from before is abandoned', () => {
    const { breaker, admit } = setUp();
    const early = admit();
    for (const _ of [1, 2]) admit().failed();
    early.abandoned();
    expect(breaker.admit()).toBeUndefined();
  });
});
