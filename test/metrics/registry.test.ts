import { describe, expect, it } from 'vitest';
import { Registry } from '../../src/metrics/registry.ts';

describe('Registry', () => {
  it('should write counters, one line a set of labels', () => {
    const registry = new Registry();
    const counter = registry.counter('cats_total', 'Cats seen.');
    counter.add(1, { colour: 'black' });
    counter.add(2, { colour: 'black' });
    counter.add(1, { colour: 'a "b" \\ c\nd' });
    expect(registry.text()).toBe(
      [
        '# HELP cats_total Cats seen.',
        '# TYPE cats_total counter',
        'cats_total{colour="black"} 3',
        'cats_total{colour="a \\"b\\" \\\\ c\\nd"} 1',
        '',
      ].join('\n'),
    );
  });

  it('should read a gauge when it is asked', () => {
    const registry = new Registry();
    let length = 1;
    registry.gauge('queue', 'Length.', () => length);
    length = 5;
    expect(registry.text()).toContain('\nqueue 5\n');
  });

  it('should write a histogram with cumulative buckets that include their bound', () => {
    const registry = new Registry();
    const histogram = registry.histogram('seconds', 'Time.', [0.5, 1]);
    for (const value of [0.25, 0.5, 0.75, 3]) histogram.observe(value, { route: '/' });
    expect(registry.text().split('\n').slice(2)).toEqual([
      'seconds_bucket{route="/",le="0.5"} 2',
      'seconds_bucket{route="/",le="1"} 3',
      'seconds_bucket{route="/",le="+Inf"} 4',
      'seconds_sum{route="/"} 4.5',
      'seconds_count{route="/"} 4',
      '',
    ]);
  });
});
