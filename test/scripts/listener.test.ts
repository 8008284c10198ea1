import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inheritedListener, Listener } from '../../scripts/serve/listener.ts';

describe('a listener', () => {
  it('should keep connections and accept none, until it is closed', async () => {
    const listener = await Listener.open({ host: '127.0.0.1', port: 0 });
    const { port } = listener.address;
    const client = connect(port, '127.0.0.1');
    await once(client, 'connect');
    let isOver = false;
    client.on('close', () => {
      isOver = true;
    });
    client.on('error', () => {});
    await sleep(100);
    expect(isOver).toBe(false);
    await listener.close();
    await expect.poll(() => isOver).toBe(true);
    const refused = connect(port, '127.0.0.1');
    const [error] = await once(refused, 'error');
    expect(error.code).toBe('ECONNREFUSED');
  });

  it('should not be where another one is', async () => {
    const first = await Listener.open({ host: '127.0.0.1', port: 0 });
    await expect(Listener.open(first.address)).rejects.toThrow('EADDRINUSE');
    await first.close();
  });

  it('should be one that this process was given', async () => {
    const given = createServer().listen(0, '127.0.0.1');
    await once(given, 'listening');
    const { fd } = (given as unknown as { _handle: { fd: number } })._handle;
    const listener = await Listener.open({ fd });
    expect(listener.address).toEqual({ host: '127.0.0.1', port: (given.address() as { port: number }).port });
    expect(inheritedListener({ LISTEN_FDS: '1', LISTEN_PID: '7' }, 7)).toEqual({ fd: 3 });
    // Meant for the process that started this one.
    expect(inheritedListener({ LISTEN_FDS: '1', LISTEN_PID: '6' }, 7)).toBeUndefined();
    expect(inheritedListener({}, 7)).toBeUndefined();
    expect(() => inheritedListener({ LISTEN_FDS: '2', LISTEN_PID: '7' }, 7)).toThrow('one socket');
  });
});
