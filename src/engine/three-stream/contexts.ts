/** The contexts of a three-stream model, kept across requests: one cache for each side of the cursor. */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import type { Ticket } from '../admission-queue.ts';
import { PrefixCache } from './prefix-cache.ts';

export class Contexts {
  readonly prefixes: PrefixCache;
  readonly suffixes: PrefixCache;
  /** Prefixes cut to the near window; undefined if the model has none. */
  readonly nears: PrefixCache | undefined;
  /** Pairs of contexts: as many requests can be served at a time. */
  readonly pairs: number;

  constructor(denoiser: Denoiser) {
    this.prefixes = new PrefixCache(denoiser, denoiser.prefixContexts);
    this.suffixes = new PrefixCache(denoiser, denoiser.suffixContexts);
    if (denoiser.nearContexts.length > 0) this.nears = new PrefixCache(denoiser, denoiser.nearContexts);
    this.pairs = denoiser.prefixContexts.length;
  }

  /** Lets other requests take the contexts of a request; their contents are kept until then. */
  release(owner: Ticket): void {
    this.prefixes.release(owner);
    this.suffixes.release(owner);
    this.nears?.release(owner);
  }
}
