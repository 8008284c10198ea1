/** The settings of the sampler, from a request and the defaults of a model. */

import type { SamplerSettings } from '../diffusion/sampler.ts';
import type { GenerateRequest } from './types.ts';

type Defaults = Pick<SamplerSettings, 'revealThreshold' | 'editThreshold' | 'maxEditsPerSlot' | 'freezeAfter'>;

export function samplerSettings(request: GenerateRequest, defaults: Defaults): SamplerSettings {
  return {
    temperature: request.temperature,
    topP: request.topP,
    seed: request.seed,
    revealThreshold: request.revealThreshold ?? defaults.revealThreshold,
    editThreshold: request.editThreshold ?? defaults.editThreshold,
    maxEditsPerSlot: defaults.maxEditsPerSlot,
    alternatives: request.alternatives ?? 0,
    freezeAfter: request.freezeAfter ?? defaults.freezeAfter,
  };
}
