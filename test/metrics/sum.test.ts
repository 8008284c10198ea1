import { describe, expect, it } from 'vitest';
import { exposition, Registry } from '../../src/metrics/registry.ts';
import { sumOf, withoutGauges } from '../../src/metrics/sum.ts';

function processOf(colour: string, seconds: number, waiting: number): Registry {
  const registry = new Registry();
  registry.counter('cats_total', 'Cats seen.').add(1, { colour });
  registry.histogram('seconds', 'Time.', [1]).observe(seconds);
  registry.gauge('waiting', 'Length.', () => waiting);
  registry.info('build_info', 'Build.', () => [{ version: '1' }]);
  return registry;
}

describe('the sum of processes', () => {
  const black = processOf('black', 0.5, 2).snapshot();
  const white = processOf('white', 3, 1).snapshot();

  it('should add series of the same labels, and keep those that differ', () => {
    expect(exposition(sumOf([black, white, black]))).toBe(
      [
        '# HELP cats_total Cats seen.',
        '# TYPE cats_total counter',
        'cats_total{colour="black"} 2',
        'cats_total{colour="white"} 1',
        '# HELP seconds Time.',
        '# TYPE seconds histogram',
        'seconds_bucket{le="1"} 2',
        'seconds_bucket{le="+Inf"} 3',
        'seconds_sum 4',
        'seconds_count 3',
        '# HELP waiting Length.',
        '# TYPE waiting gauge',
        'waiting 5',
        '# HELP build_info Build.',
        '# TYPE build_info gauge',
        'build_info{version="1"} 1',
        '',
      ].join('\n'),
    );
  });

  it('should survive the way from a process to its supervisor', () => {
    expect(sumOf([JSON.parse(JSON.stringify(black))])).toEqual(sumOf([black]));
  });

  it('should keep the counts of a process that has ended, and not its gauges', () => {
    expect(withoutGauges(black).map(({ name }) => name)).toEqual(['cats_total', 'seconds']);
  });
});
