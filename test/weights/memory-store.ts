/** A store in memory that counts its calls, for tests of code that uses stores. */
import { createHash } from 'node:crypto';
import type { Bytes, StoredInfo, WritableStore } from '../../src/weights/store.ts';

export interface MemoryStore extends WritableStore {
  objects: Map<string, Bytes>;
  /** Names in the order in which they became visible. */
  written: string[];
  /** Parts of uploads that are neither completed nor aborted. */
  loose: Set<string>;
}

export function memoryStore(objects = new Map<string, Bytes>()): MemoryStore {
  const written: string[] = [];
  const loose = new Set<string>();
  const infoOf = (bytes: Bytes): StoredInfo => ({
    size: bytes.byteLength,
    etag: `"${createHash('md5').update(bytes).digest('hex')}"`,
  });
  const show = (name: string, bytes: Bytes) => {
    objects.set(name, bytes);
    written.push(name);
  };
  return {
    objects,
    written,
    loose,
    head: async (name) => (objects.has(name) ? infoOf(objects.get(name)!) : null),
    async get(name, { offset, length = Infinity } = { offset: 0 }) {
      const bytes = objects.get(name);
      if (bytes === undefined) return null;
      return { ...infoOf(bytes), stream: new Blob([bytes.slice(offset, offset + length)]).stream() };
    },
    put: async (name, bytes) => show(name, bytes.slice()),
    putNew: async (name, bytes) => {
      if (objects.has(name)) return false;
      show(name, bytes.slice());
      return true;
    },
    delete: async (name) => void objects.delete(name),
    list: async (prefix) =>
      [...objects.keys()]
        .filter((name) => name.startsWith(prefix))
        .sort()
        .map((name) => ({ name, ...infoOf(objects.get(name)!) })),
    async upload(name) {
      const parts: Bytes[] = [];
      loose.add(name);
      return {
        part: async (bytes) => void parts.push(bytes.slice()),
        async complete() {
          loose.delete(name);
          show(name, new Uint8Array(Buffer.concat(parts)));
        },
        abort: async () => void loose.delete(name),
      };
    },
  };
}
