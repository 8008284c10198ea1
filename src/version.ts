/** What this build is. */

/** That of package.json; a test keeps them the same. */
export const VERSION = '0.1.0';

/** Put in when the worker is bundled (scripts/wrangler.ts). */
declare const QUICKSILVER_REVISION: string | undefined;

/** The commit that was bundled, with `-dirty` where files were changed; `unknown` without a bundle or a repository. */
export const REVISION = typeof QUICKSILVER_REVISION === 'string' ? QUICKSILVER_REVISION : 'unknown';
