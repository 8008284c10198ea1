/**
 * Leaves zod's writing of JSON Schema out of the Web Worker, which only validates with schemas: zod ties it to every
 * schema, so that no bundler can find it unused. It is a fifth of zod's size.
 */
import type { Plugin } from 'vite';

const MODULES = /\/zod\/v4\/core\/(json-schema-processors|to-json-schema)\.js$/;

const EXPORTED = /^export (?:const|function) (\w+)/gm;

export function withoutJsonSchema(): Plugin {
  let found = 0;
  return {
    name: 'quicksilver:without-json-schema',
    apply: 'build',
    transform(code, id) {
      if (!MODULES.test(id)) return undefined;
      found++;
      // zod calls some of them for each schema that it makes, and keeps what they return to be called later.
      const names = [...code.matchAll(EXPORTED)].map(([, name]) => name);
      return { code: names.map((name) => `export const ${name} = () => () => {};`).join('\n'), map: null };
    },
    buildEnd(error) {
      if (error === undefined && found !== 2) throw new Error(`zod has ${found} of the 2 modules of its JSON Schema`);
    },
  };
}
