/** GET /openapi.json and GET /docs: what the service answers, for tools and for people. */
import type { Context } from 'hono';
import { type DescriptionOptions, describe } from './document.ts';
import { page } from './page.ts';

/** Both are made when they are first asked for: an isolate that only completes need not have them. */
export function openapi(options: DescriptionOptions) {
  let description: ReturnType<typeof describe> | undefined;
  let written: ReturnType<typeof page> | undefined;
  const described = () => {
    description ??= describe(options);
    return description;
  };

  return {
    json: (c: Context): Response => c.json(described()),
    docs: async (c: Context): Promise<Response> => {
      written ??= page(described());
      const { text, policy } = await written;
      return c.body(text, 200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': policy,
        'x-content-type-options': 'nosniff',
      });
    },
  };
}
