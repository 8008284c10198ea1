/** The runtime's own module, as tests inside it use it. */
declare module 'cloudflare:workers' {
  export const env: {
    WEIGHTS: import('../../src/weights/r2-store.ts').Bucket & {
      put(key: string, value: Uint8Array | string): Promise<unknown>;
      list(): Promise<{ objects: { key: string }[] }>;
      delete(keys: string[]): Promise<void>;
    };
  };
}
