/**
 * Leaves three parts of zod out of the Web Worker, which only validates parsed JSON: the writing of JSON Schema, the
 * bookkeeping of values that contain themselves, and the code that it generates at run time, which the page's content
 * security policy forbids. zod ties them to every schema, so that no bundler can find them unused.
 */
import type { Plugin } from 'vite';

const JSON_SCHEMA = /\/zod\/v4\/core\/(json-schema-processors|to-json-schema)\.js$/;
const CYCLES = /\/zod\/v4\/core\/memoizer\.js$/;
/** Where objects are parsed by generated code, or else by code that zod has anyway. */
const OBJECTS = /\/zod\/v4\/classic\/schemas\.js$/;
const CHANGED_MODULES = 4;

const GENERATING = 'core.$ZodObjectJIT.init(';

const EXPORTED = /^export (?:const|function|class) ([\w$]+)/gm;

/** Without a memoizer zod reads values as trees, which JSON always is. */
const nothing = (name: string) => `export const ${name} = () => undefined;`;
/** zod calls some of them for each schema that it makes, and keeps what they return to be called later. */
const doNothing = (name: string) => `export const ${name} = () => () => {};`;

export function smallerZod(): Plugin {
  let found = 0;
  return {
    name: 'quicksilver:smaller-zod',
    apply: 'build',
    transform(code, id) {
      if (OBJECTS.test(id) && code.includes(GENERATING)) {
        found++;
        return { code: code.replaceAll(GENERATING, 'core.$ZodObject.init('), map: null };
      }
      const replaced = JSON_SCHEMA.test(id) ? doNothing : CYCLES.test(id) ? nothing : undefined;
      if (replaced === undefined) return undefined;
      found++;
      const names = Array.from(code.matchAll(EXPORTED), ([, name]) => name!);
      return { code: names.map(replaced).join('\n'), map: null };
    },
    buildEnd(error) {
      if (error === undefined && found !== CHANGED_MODULES) {
        throw new Error(`zod has ${found} of the ${CHANGED_MODULES} modules that are changed`);
      }
    },
  };
}
