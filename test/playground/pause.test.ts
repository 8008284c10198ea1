import { describe, expect, it } from 'vitest';
import { FIRST_PAUSE_MS, MAX_PAUSE_MS, MIN_PAUSE_MS, Pause } from '../../playground/src/editor/pause.ts';

function pauseAfter(...latenciesMs: number[]): number {
  const pause = new Pause();
  for (const latencyMs of latenciesMs) pause.answered(latencyMs);
  return pause.ms;
}

describe('the pause after a key', () => {
  it('should be short where answers come fast, and long where they are slow', () => {
    expect(pauseAfter()).toBe(FIRST_PAUSE_MS);
    expect(pauseAfter(4)).toBe(MIN_PAUSE_MS);
    expect(pauseAfter(200)).toBe(100);
    expect(pauseAfter(10_000)).toBe(MAX_PAUSE_MS);
  });

  it('should follow a change within a few answers, and no single slow one', () => {
    expect(pauseAfter(60, 60, 60, 5000)).toBe(30);
    expect(pauseAfter(60, 60, 60, 60, 60, 400, 400, 400)).toBe(200);
  });

  it('should count a request that was given up only if it took longer than the answers', () => {
    const pause = new Pause();
    pause.abandoned(700);
    expect(pause.ms).toBe(FIRST_PAUSE_MS);
    pause.answered(100);
    pause.abandoned(20);
    expect(pause.ms).toBe(50);
    for (let times = 0; times < 3; times++) pause.abandoned(600);
    expect(pause.ms).toBe(300);
  });
});
